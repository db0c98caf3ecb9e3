/** `resume --to`, and the messages that propose it. */
import { readdir, readFile, realpath } from 'node:fs/promises'
import { join } from 'node:path'
import OSS from 'ali-oss'
import t, { type Test } from 'tap'
import { startEmulator, type Emulator } from '../../src/emulator/index.js'
import { connect } from '../../src/oss/connection.js'
import { Spool } from '../../src/spool.js'
import { environment, get, PART, server, type Env } from '../support/command-line.js'
import { run } from '../support/in-process.js'
import { BUCKET, bytes } from '../support/oss.js'

const DATA = bytes(2 * PART + 5)
const OTHER = 'other-bucket'
const PUT = ['put', `oss://${BUCKET}/old`, '--id=k', '--part-size=100KiB', '--retries=1']
const DENIED = { do: 'answer', status: 403, code: 'AccessDenied', times: 'always' } as const

interface Bench {
  readonly dir: string
  readonly oss: Emulator
  readonly env: Env
}

/** Leaves the sealed upload `k`, whose last step OSS refused. */
async function leaveSealed(test: Test): Promise<Bench> {
  const dir = test.testdir({})
  const { oss, env } = await server(test, dir)
  const fault = oss.inject({ operation: 'CompleteMultipartUpload', ...DENIED })
  test.match(await run(dir, PUT, DATA, env), { status: 75 })
  fault.remove()
  return { dir, oss, env }
}

/** Another endpoint with the bucket `OTHER`, and the flags for it. */
async function elsewhere(test: Test): Promise<{ oss: Emulator; flags: string[]; env: Env }> {
  const oss = await startEmulator({ buckets: [OTHER] })
  test.teardown(() => oss.close())
  const flags = ['--endpoint', oss.endpoint, '--region', 'cn-hangzhou']
  return { oss, flags, env: environment(oss) }
}

/** Returns the commands that standard error proposes, as arguments. */
function proposed(err: string): string[][] {
  return [...err.matchAll(/"oss-spool ([^"]+)"/g)].map(([, command = '']) => command.split(' '))
}

t.test('resume --to publishes under another key of the recorded endpoint', async t => {
  const { dir, oss, env } = await leaveSealed(t)
  const args = ['resume', 'k', '--to', `oss://${BUCKET}/new`, '--json']
  const { status, out, err } = await run(dir, args, undefined, env)
  t.equal(status, 0, err)
  t.match(JSON.parse(out), { id: 'k', key: 'new', resumed: true, size: DATA.length })
  t.same(await get(oss, 'new'), DATA)
  t.equal(await get(oss, 'old'), undefined)
  t.same(await readdir(join(dir, 'spool')), [])
})

t.test(
  'resume --to moves to the endpoint of its flags, and resume --all goes on there',
  async t => {
    const { dir, oss, env } = await leaveSealed(t)
    const there = await elsewhere(t)
    const fault = there.oss.inject({ operation: 'CompleteMultipartUpload', ...DENIED })
    const to = ['resume', 'k', '--to', `oss://${OTHER}/new`, ...there.flags, '--retries=1']
    const moved = await run(dir, to, undefined, env)
    t.equal(moved.status, 75, moved.err)
    const listed = JSON.parse((await run(dir, ['ls', '--json'])).out)
    const old = { endpoint: oss.endpoint, bucket: BUCKET, key: 'old' }
    t.match(listed, { endpoint: there.oss.endpoint, bucket: OTHER, key: 'new', movedFrom: [old] })
    t.match(
      (await run(dir, ['show', 'k'])).out,
      `moved from oss://${BUCKET}/old at ${oss.endpoint}`,
    )
    t.match(JSON.parse((await run(dir, ['show', 'k', '--json'])).out), { movedFrom: [old] })
    fault.remove()

    const all = await run(dir, ['resume', '--all', '--json'], undefined, there.env)
    t.equal(all.status, 0, all.err)
    t.match(JSON.parse(all.out), { bucket: OTHER, key: 'new' })
    t.match(all.err, 'is not settled')
    const settled = await run(dir, ['prune', '--yes'], undefined, env)
    t.equal(settled.status, 0, settled.err)
    t.same(await readdir(join(dir, 'spool')), [])
  },
)

t.test('a configured endpoint does not move an upload', async t => {
  const { dir } = await leaveSealed(t)
  const there = await elsewhere(t)
  const record = join(dir, 'spool', 'k', 'checkpoint.json')
  const before = await readFile(record, 'utf8')
  const to = ['resume', 'k', '--to', `oss://${OTHER}/new`]
  const { status, err } = await run(dir, to, undefined, there.env)
  t.match({ status, err }, { status: 75, err: /ERR_SPOOL_ENDPOINT.*\n.*--endpoint/ })
  t.equal(await readFile(record, 'utf8'), before)
  t.same(there.oss.requests, [])
})

t.test('resume --to moves an upload from and to an embedded OSS', async t => {
  const { dir, env } = await leaveSealed(t)
  const local = await run(dir, ['resume', 'k', '--to', 'oss://mine/new', '--local=data'])
  t.equal(local.status, 0, local.err)
  t.match(local.err, /is not settled/)
  const kept = await readFile(join(dir, 'spool', 'k', 'checkpoint.json'), 'utf8')
  t.match(JSON.parse(kept).checkpoint, { endpoint: `local:${await realpath(join(dir, 'data'))}` })
  t.match(await run(dir, ['resume', 'k', '--local=data']), { status: 0, out: /already uploaded/ })
  t.match(await run(dir, ['prune', '--yes'], undefined, env), { status: 0 })
  t.same(await readdir(join(dir, 'spool')), [])
})

t.test('an upload of an embedded OSS moves to another endpoint', async t => {
  const dir = t.testdir({ data: {} })
  const there = await elsewhere(t)
  const embedded = await startEmulator({ dir: join(dir, 'data'), createBuckets: true })
  const name = `local:${await realpath(join(dir, 'data'))}`
  const client = connect(embedded.clientOptions('mine'), { name, endpoint: embedded.endpoint })
  embedded.inject({ operation: 'CompleteMultipartUpload', ...DENIED })
  const spool = new Spool({ client, dir: join(dir, 'spool'), partSize: PART })
  await t.rejects(
    spool.upload('old', () => [DATA], { id: 'k' }),
    { code: 'ERR_SPOOL_DENIED' },
  )
  client.close()
  await embedded.close()

  const bare = ['resume', 'k', '--to', `oss://${OTHER}/new`]
  const refused = await run(dir, bare, undefined, there.env)
  t.match(refused, { status: 75, err: `--local=${join(dir, 'data')}` }, 'the endpoint stays')
  const moved = await run(dir, [...bare, ...there.flags], undefined, there.env)
  t.equal(moved.status, 0, moved.err)
  const { content } = await new OSS(there.oss.clientOptions(OTHER)).get('new')
  t.same(Buffer.from(content), DATA)
  t.match(await run(dir, ['prune', '--yes', '--local=data']), { status: 0 })
  t.same(await readdir(join(dir, 'spool')), [])
})

t.test('abort of an upload with parts at another endpoint: the proposed command works', async t => {
  const { dir } = await leaveSealed(t)
  const there = await elsewhere(t)
  there.oss.inject({ operation: 'InitiateMultipartUpload', ...DENIED })
  const to = ['resume', 'k', '--to', `oss://${OTHER}/new`, ...there.flags]
  t.match(await run(dir, to, undefined, there.env), { status: 75 })
  const abort = ['abort', 'k', '--yes', ...there.flags]
  const { status, err } = await run(dir, abort, undefined, there.env)
  t.match({ status, err }, { status: 1, err: 'ERR_SPOOL_ENDPOINT' })
  const [command = []] = proposed(err)
  t.match(await run(dir, [...command, '--yes'], undefined, there.env), { status: 0 })
  t.same(await readdir(join(dir, 'spool')), [])
})

t.test('wrong uses of --to are reported before any work', async t => {
  const { dir, env } = await leaveSealed(t)
  const spool = join(dir, 'spool', 'k', 'checkpoint.json')
  const before = await readFile(spool, 'utf8')
  const to = `oss://${BUCKET}/new`
  const uses = [
    ['resume', '--all', '--to', to],
    ['resume', 'k', 'l', '--to', to],
    ['resume', '--to', to],
    ['resume', 'k', '--to', to, '--to', to],
    ['resume', 'k', '--to', 'new'],
    ['resume', 'k', '--to', 'oss://No/new'],
    ['resume', 'k', '--to', `oss://${BUCKET}`],
    ['resume', 'k', '--to', `oss://${BUCKET}/`],
    ['resume', 'k', '--to', `oss://${BUCKET}/folder/`],
    ['resume', 'k', '--to', `oss://${BUCKET}/a/../b`],
    ['resume', 'k', '--to', to, '--endpoint', 'ftp://x'],
    ['resume', 'k', '--to', to, '--region', 'A B'],
    ['resume', 'k', '--to', to, '--cname', '--endpoint', 'oss-cn-hangzhou.aliyuncs.com'],
    ['resume', 'k', '--to', 'oss://id:secret@bucket/key'],
  ]
  for (const use of uses) {
    const { status, out, err } = await run(dir, use, undefined, env)
    t.match({ status, out }, { status: 2, out: '' }, `${use.join(' ')}: ${err}`)
    t.notMatch(err, 'secret')
  }
  t.equal(await readFile(spool, 'utf8'), before)
})

t.test('--to is not a setting of the environment', async t => {
  const { dir, oss, env } = await leaveSealed(t)
  const withTo = { ...env, OSS_SPOOL_TO: `oss://${BUCKET}/new` }
  t.match(await run(dir, ['resume', 'k'], undefined, withTo), { status: 0 })
  t.same(await get(oss, 'old'), DATA)
  t.equal(await get(oss, 'new'), undefined)
})

t.test('a bucket that does not exist: the proposed command publishes elsewhere', async t => {
  const dir = t.testdir({})
  const { oss, env } = await server(t, dir)
  const put = ['put', 'oss://no-such-bucket/old', '--retries=1', '--endpoint', oss.endpoint]
  const { status, err } = await run(dir, put, DATA, env)
  t.equal(status, 75, err)
  const move = proposed(err).find(args => args.includes('--to'))
  for (const word of ['oss://BUCKET/KEY', '--endpoint', oss.endpoint])
    t.ok(move?.includes(word), err)
  const filled = (move ?? []).map(word =>
    word === 'oss://BUCKET/KEY' ? `oss://${BUCKET}/k` : word,
  )
  const moved = await run(dir, filled, undefined, env)
  t.equal(moved.status, 0, moved.err)
  t.same(await get(oss, 'k'), DATA)
  t.same(await readdir(join(dir, 'spool')), [])
})

t.test('a host that does not exist: the proposed command names another endpoint', async t => {
  const dir = t.testdir({})
  const { oss, env } = await server(t, dir)
  const put = ['put', `oss://${BUCKET}/k`, '--retries=1', '--endpoint', 'https://no.invalid']
  const { status, err } = await run(dir, put, DATA, env)
  t.equal(status, 75, err)
  const move = proposed(err).find(args => args.includes('--to'))
  for (const word of ['oss://BUCKET/KEY', 'ENDPOINT', 'REGION']) t.ok(move?.includes(word), err)
  const values: Record<string, string> = {
    'oss://BUCKET/KEY': `oss://${BUCKET}/k`,
    ENDPOINT: oss.endpoint,
    REGION: 'cn-hangzhou',
  }
  const filled = (move ?? []).map(word => values[word] ?? word)
  const moved = await run(dir, filled, undefined, env)
  t.equal(moved.status, 0, moved.err)
  t.same(await get(oss, 'k'), DATA)
  t.same(await readdir(join(dir, 'spool')), [])
})

t.test('a put of the old key names the upload that was moved', async t => {
  const { dir, oss, env } = await leaveSealed(t)
  oss.inject({ operation: 'CompleteMultipartUpload', key: 'new', ...DENIED })
  const to = ['resume', 'k', '--to', `oss://${BUCKET}/new`, '--retries=1']
  t.match(await run(dir, to, undefined, env), { status: 75 })
  const inUse = { status: 1, err: /ERR_SPOOL_ID_IN_USE.*moved to oss:\/\/test-bucket\/new/ }
  t.match(await run(dir, PUT, DATA, env), inUse)
  const other = await run(dir, ['put', `oss://${BUCKET}/new`], DATA, env)
  t.match(other, { status: 1, err: /ERR_SPOOL_ID_IN_USE.*\n.*"oss-spool resume k"/ })
})
