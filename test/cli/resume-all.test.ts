/**
 * Commands that work on all uploads, as cron runs them: what counts as a failure, what is only named, and how stuck
 * uploads are noticed.
 */
import { mkdir, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import t, { type Test } from 'tap'
import { Spool } from '../../src/index.js'
import type { Emulator } from '../../src/emulator/index.js'
import { get, PART, server, start, until, type Env } from '../support/command-line.js'
import { dateAhead } from '../support/clock-ahead.js'
import { run } from '../support/in-process.js'
import { BUCKET, bytes } from '../support/oss.js'

const REFUSED = { do: 'answer', status: 403, code: 'AccessDenied', times: 'always' } as const
const PUBLISHING = ['PutObject', 'CompleteMultipartUpload'] as const

interface Site {
  readonly dir: string
  readonly oss: Emulator
  readonly env: Env
}

async function setUp(t: Test): Promise<Site> {
  const dir = t.testdir({})
  return { dir, ...(await server(t, dir)) }
}

/** Leaves sealed uploads `0` to `count - 1` of small objects. */
async function sealMany(t: Test, { dir, oss, env }: Site, count: number): Promise<void> {
  const names = Array.from({ length: count }, (_, i) => String(i))
  await Promise.all(names.map(name => writeFile(join(dir, name), name)))
  const refusal = oss.inject({ operation: PUBLISHING, ...REFUSED })
  const put = ['put', `oss://${BUCKET}/all/`, ...names, '--retries=1', '--quiet']
  t.equal((await run(dir, put, undefined, env)).status, 75)
  refusal.remove()
}

/** Leaves the sealed upload `id` of two parts. */
async function seal(t: Test, { dir, oss, env }: Site, id: string): Promise<void> {
  const refusal = oss.inject({ operation: PUBLISHING, ...REFUSED })
  const put = ['put', `oss://${BUCKET}/${id}`, `--id=${id}`, '--part-size=100KiB', '--retries=1']
  t.equal((await run(dir, put, bytes(2 * PART), env)).status, 75)
  refusal.remove()
}

async function idsIn(dir: string): Promise<string[]> {
  const { out } = await run(dir, ['ls', '--json'])
  return out
    .split('\n')
    .slice(0, -1)
    .map(line => String(JSON.parse(line).id))
    .toSorted()
}

t.test('overlapping runs of resume --all finish everything, and both exit with 0', async t => {
  const site = await setUp(t)
  const { dir, oss, env } = site
  const count = 40
  await sealMany(t, site, count)
  oss.inject({ operation: 'PutObject', do: 'delay', ms: 100, times: 'always' })
  const args = ['resume', '--all', '--json', '--stale-after=24h']
  const runs = [0, 1].map(() => start(dir, args, undefined, env).done)
  const finished: string[] = []
  for (const { status, out, err } of await Promise.all(runs)) {
    t.equal(status, 0, err)
    t.notMatch(err, 'ERR_SPOOL')
    finished.push(...out.split('\n').slice(0, -1))
  }
  const keys = finished.map(line => String(JSON.parse(line).key))
  t.equal(keys.length, count, 'each upload has one result and no error')
  t.equal(new Set(keys).size, count)
  t.same(await readdir(join(dir, 'spool')), [])
})

t.test('overlapping quiet runs print only results, also next to abort --all', async t => {
  const site = await setUp(t)
  const { dir, oss, env } = site
  await sealMany(t, site, 20)
  oss.inject({ operation: 'PutObject', do: 'delay', ms: 100, times: 'always' })
  const runs = [
    ['resume', '--all', '--quiet'],
    ['resume', '--all', '--quiet'],
    ['abort', '--all', '--quiet'],
  ].map(args => start(dir, args, undefined, env).done)
  for (const done of await Promise.all(runs)) t.match(done, { status: 0, err: '' })
  t.match(await run(dir, ['resume', '--all'], undefined, env), {
    status: 0,
    err: 'oss-spool: nothing to do\n',
  })
})

t.test('resume --all names an upload of a live process, and exits with 0', async t => {
  const { dir, oss, env } = await setUp(t)
  const input = new PassThrough()
  const put = ['put', `oss://${BUCKET}/k`, '--id=k', '--part-size=100KiB']
  const owner = start(dir, put, input, env)
  input.write(bytes(2 * PART))
  await until(() => oss.requests.some(({ operation }) => operation === 'UploadPart'))
  for (const command of ['resume', 'abort']) {
    const { status, out, err } = await run(dir, [command, '--all', '--json'], undefined, env)
    t.match({ status, out }, { status: 0, out: '' }, err)
    t.match(err, /k \(oss:\S+\) is skipped: its source is still being read by process \d+ on /)
  }
  input.end()
  t.equal((await owner.done).status, 0)
})

t.test('resume --all --stale-after exits with 1 if something waits for longer', async t => {
  const site = await setUp(t)
  const { dir, oss, env } = site
  const all = ['resume', '--all', '--retries=1']
  const failed = ['run', `oss://${BUCKET}/unsealed`, '--id=unsealed', '--', 'false']
  t.equal((await run(dir, failed, undefined, env)).status, 1)
  const unsealed = await run(dir, [...all, '--stale-after=0s'], undefined, env)
  t.equal(unsealed.status, 0, 'an unsealed upload is not stale')

  await seal(t, site, 'refused')
  const refusal = oss.inject({ operation: PUBLISHING, ...REFUSED })
  t.equal((await run(dir, [...all, '--stale-after=24h'], undefined, env)).status, 75)
  const stale = await run(dir, [...all, '--stale-after=0s', '--quiet'], undefined, env)
  t.equal(stale.status, 1, 'wins over 75')
  t.match(
    stale.err,
    /\noss-spool: refused \(oss:\S+ at http:\S+\) is stale: .*"oss-spool show refused"\n/,
  )
  refusal.remove()

  const finished = await run(dir, [...all, '--stale-after=0s'], undefined, env)
  t.equal(finished.status, 0, 'it is judged afterwards')
})

t.test('--stale-after judges all owners, endpoints and the quarantine', async t => {
  const site = await setUp(t)
  const { dir, oss, env } = site
  const elsewhere = { dir, ...(await server(t, join(dir, 'elsewhere'))) }
  await seal(t, elsewhere, 'elsewhere')
  const spool = new Spool({ client: oss.clientOptions(BUCKET), dir: join(dir, 'spool') })
  const owned = spool.createWriteStream('owned', { id: 'owned' })
  owned.write('x')
  await owned.commit()
  const fresh = spool.createWriteStream('fresh', { id: 'fresh' })
  fresh.write('x')
  await mkdir(join(dir, 'spool', 'damaged'))
  await writeFile(join(dir, 'spool', 'damaged', 'checkpoint.json'), '{')
  t.match(await run(dir, ['ls'], undefined, env), { err: /damaged/ })

  const all = ['resume', '--all', '--quiet', '--json']
  t.match(await run(dir, all, undefined, env), { status: 0, out: '', err: '' })
  t.match(await run(dir, [...all, '--stale-after=24h'], undefined, env), { status: 0, err: '' })
  const { status, out, err } = await run(dir, [...all, '--stale-after=0s'], undefined, env)
  t.match({ status, out }, { status: 1, out: '' })
  t.same([...err.matchAll(/^oss-spool: (\w+).* is stale/gm)].map(([, id = '']) => id).toSorted(), [
    'damaged',
    'elsewhere',
    'owned',
  ])
  t.equal((await run(dir, ['resume', 'elsewhere', '--stale-after=1h'], undefined, env)).status, 2)
  for (const sink of [owned, fresh]) sink.end()
  await Promise.all([owned.result, fresh.result])
})

t.test('abort and prune exit with 1 if OSS refuses, and do the rest', async t => {
  const site = await setUp(t)
  const { dir, oss, env } = site
  for (const id of ['a', 'b']) await seal(t, site, id)
  const refusal = oss.inject({ operation: 'AbortMultipartUpload', key: 'a', ...REFUSED })
  const abort = await run(dir, ['abort', 'a', '--yes', '--json'], undefined, env)
  t.equal(abort.status, 1, 'although resume could finish it')
  t.match(JSON.parse(abort.out), { error: { code: 'ERR_SPOOL_DENIED', resumable: true, id: 'a' } })

  const prune = ['prune', '--sealed', '--older-than=0s', '--yes', '--json']
  const pruned = await run(dir, prune, undefined, env)
  t.equal(pruned.status, 1)
  const [first, second] = pruned.out.split('\n').map(line => (line === '' ? {} : JSON.parse(line)))
  t.match(first, { kind: 'upload', id: 'a', error: { code: 'ERR_SPOOL_DENIED', id: 'a' } })
  t.match(second, { kind: 'upload', id: 'b' })
  t.equal(second?.error, undefined)
  t.match(pruned.err, /ERR_SPOOL_DENIED: .*AbortMultipartUpload/)
  t.same(await idsIn(dir), ['a'])
  refusal.remove()
  t.equal((await run(dir, prune, undefined, env)).status, 0)
})

t.test('abort --no-remote needs neither OSS nor credentials', async t => {
  const site = await setUp(t)
  const { dir, oss } = site
  for (const id of ['a', 'b', 'c']) await seal(t, site, id)
  const before = oss.requests.length
  t.match(await run(dir, ['abort', 'a', '--no-remote']), {
    status: 0,
    out: 'a: aborted on this disk only\n',
    err: '',
  })
  const json = await run(dir, ['abort', 'b', '--no-remote', '--json'])
  t.same(JSON.parse(json.out), { id: 'b', aborted: true, remote: false })
  t.equal((await run(dir, ['abort', '--all', '--no-remote'])).status, 2, 'no endpoint')
  const flags = ['--endpoint', oss.endpoint, '--region', 'cn-hangzhou']
  t.equal((await run(dir, ['abort', '--all', '--no-remote', ...flags])).status, 0)
  t.same(await idsIn(dir), [])
  t.equal(oss.requests.length, before)
})

t.test('abort --all leaves uploads of other endpoints, and names them', async t => {
  const site = await setUp(t)
  const { dir, env } = site
  const elsewhere = { dir, ...(await server(t, join(dir, 'elsewhere'))) }
  await seal(t, elsewhere, 'elsewhere')
  await seal(t, site, 'here')
  const { status, out, err } = await run(dir, ['abort', '--all'], undefined, env)
  t.match({ status, out }, { status: 0, out: 'here: aborted\n' })
  t.match(err, /elsewhere \(oss:\S+\) is skipped: it belongs to http:/)
  t.same(await idsIn(dir), ['elsewhere'])
})

t.test('doctor counts the waiting uploads of each endpoint', async t => {
  const site = await setUp(t)
  const { dir, env } = site
  const elsewhere = { dir, ...(await server(t, join(dir, 'elsewhere'))) }
  await seal(t, elsewhere, 'elsewhere')
  for (const id of ['a', 'b']) await seal(t, site, id)
  const { out } = await run(dir, ['doctor', '--json'], undefined, env)
  const uploads = JSON.parse(out).checks.filter(
    ({ check }: { check: string }) => check === 'uploads',
  )
  t.match(uploads, [
    {
      message: /^1 of 3 .*/,
      hint: `"oss-spool resume --all --endpoint ${elsewhere.oss.endpoint} `,
    },
    { message: /^2 of 3 .*/, hint: '"oss-spool resume --all"' },
  ])
})

t.test('run passes 75 and 2 of its command through, without a resumable error', async t => {
  const { dir, oss, env } = await setUp(t)
  for (const code of [75, 2]) {
    const args = ['run', `oss://${BUCKET}/k`, '--id=k', '--json', '--', 'sh', '-c', `exit ${code}`]
    const { status, out } = await run(dir, args, undefined, env)
    t.equal(status, code)
    t.match(JSON.parse(out), { error: { code: 'ERR_SPOOL_SOURCE_FAILED', resumable: false } })
  }
  const refusal = oss.inject({ operation: PUBLISHING, ...REFUSED })
  const args = ['run', `oss://${BUCKET}/k`, '--id=k', '--json', '--retries=1', '--', 'echo', 'x']
  const { status, out } = await run(dir, args, undefined, env)
  t.equal(status, 75)
  t.match(JSON.parse(out), { error: { code: 'ERR_SPOOL_DENIED', resumable: true } })
  refusal.remove()
  t.equal((await run(dir, args, undefined, env)).status, 0)
  t.equal(String(await get(oss, 'k')), 'x\n')
})

t.test('prune leaves and names an upload of another embedded OSS', async t => {
  const { dir, env } = await setUp(t)
  const failed = ['run', `oss://${BUCKET}/k`, '--id=k', '--local=objects', '--', 'false']
  t.equal((await run(dir, failed)).status, 1)
  const prune = ['prune', '--older-than=0s', '--yes', '--json']
  const left = await run(dir, prune, undefined, env)
  t.match(left, { status: 0, out: '', err: `abort k --local=${join(dir, 'objects')}` })
  t.same(await idsIn(dir), ['k'])
  const pruned = await run(dir, [...prune, '--local=objects'])
  t.match(JSON.parse(pruned.out), { kind: 'upload', id: 'k' })
  t.same(await idsIn(dir), [])
})

t.test(
  'resume --all proposes no other place for an upload whose bytes are partly only on OSS',
  async t => {
    const site = await setUp(t)
    const { dir, oss, env } = site
    const taken = { do: 'answer', status: 409, code: 'FileAlreadyExists', times: 'always' } as const
    const fault = oss.inject({ operation: 'CompleteMultipartUpload', ...taken })
    const put = ['put', `oss://${BUCKET}/k`, '--id=k', '--part-size=100KiB', '--max-spool=1MiB']
    const { status } = await run(dir, [...put, '--no-overwrite'], bytes(30 * PART), env)
    t.equal(status, 1)
    const skipped = await run(dir, ['resume', '--all'], undefined, env)
    t.equal(skipped.status, 0)
    t.match(skipped.err, 'oss-spool abort k')
    t.notMatch(skipped.err, '--to')
    fault.remove()
  },
)

t.test('uploads of a clock that was ahead are stale, and shown as of the future', async t => {
  const site = await setUp(t)
  const { dir, oss, env } = site
  await seal(t, site, 'ahead')
  await dateAhead(join(dir, 'spool'), 'ahead', 48 * 60 * 60 * 1000)
  for (const args of [['ls'], ['show', 'ahead']]) {
    t.match((await run(dir, args, undefined, env)).out, 'in the future')
  }
  const refusal = oss.inject({ operation: PUBLISHING, ...REFUSED })
  const all = ['resume', '--all', '--retries=1', '--quiet']
  t.equal((await run(dir, [...all, '--stale-after=72h'], undefined, env)).status, 75)
  t.equal((await run(dir, [...all, '--stale-after=24h'], undefined, env)).status, 1)
  refusal.remove()
})
