/**
 * The command line and committed uploads: streams that died after a `commit()`. The streams are written by the
 * library.
 */
import { readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { Spool, type SpoolWriteStream, type UploadOptions } from '../../src/index.js'
import type { Emulator } from '../../src/emulator/index.js'
import { get, PART, server, terminal } from '../support/command-line.js'
import { run } from '../support/in-process.js'
import { BUCKET, bytes } from '../support/oss.js'

const DENIED = { do: 'answer', status: 403, code: 'AccessDenied', times: 'always' } as const
const COMMITTED = 2 * PART + 5

function open(dir: string, oss: Emulator, key: string, options: UploadOptions): SpoolWriteStream {
  const spool = new Spool({ client: oss.clientOptions(BUCKET), dir: join(dir, 'spool') })
  const sink = spool.createWriteStream(key, { id: key, partSize: PART, ...options })
  sink.on('error', () => {})
  return sink
}

/** Leaves a stream that wrote `data`, committed it, wrote ten more bytes and failed. */
async function leaveCommitted(
  dir: string,
  oss: Emulator,
  key: string,
  data: Buffer,
): Promise<void> {
  const sink = open(dir, oss, key, {})
  sink.write(data)
  await sink.commit()
  await new Promise(resolve => sink.write(bytes(10), resolve))
  await fail(sink)
}

async function fail(sink: SpoolWriteStream): Promise<void> {
  sink.destroy(new Error('cut'))
  await sink.result.catch(() => undefined) // its code is not what these tests are about
}

async function setUp(test: Test) {
  const dir = test.testdir({})
  return { dir, ...(await server(test, dir)) }
}

t.test('ls, show and doctor describe a committed upload, and resume publishes it', async t => {
  const { dir, oss, env } = await setUp(t)
  const data = bytes(COMMITTED)
  await leaveCommitted(dir, oss, 'k', data)

  const listed = await run(dir, ['ls'])
  t.match(listed.out, /^ID +OBJECT +PHASE +RESUMABLE .*\nk +oss:\S+ +spooling +first 200\.0 KiB /)
  const [status] = (await run(dir, ['ls', '--json'])).out.split('\n')
  t.match(JSON.parse(status ?? ''), {
    phase: 'spooling',
    committed: COMMITTED,
    resumable: true,
  })
  const shown = await run(dir, ['show', 'k'], undefined, env)
  t.match(shown.out, `committed: 200.0 KiB (${COMMITTED} bytes), at 20`)
  t.match(
    shown.out,
    /\nNext: run "oss-spool resume k" to publish .*last commit.*"oss-spool abort k"/,
  )
  const details = JSON.parse((await run(dir, ['show', 'k', '--json'])).out)
  t.match(details, { committed: COMMITTED, committedAt: /^20/, unanswered: [], resumable: true })
  t.match((await run(dir, ['doctor'], undefined, env)).out, /1 of 1 unfinished uploads .*committed/)

  const resumed = await run(dir, ['resume', 'k', '--json'], undefined, env)
  t.equal(resumed.status, 0, resumed.err)
  t.match(JSON.parse(resumed.out), { size: COMMITTED, resumed: true, sourceRead: false })
  t.same(await get(oss, 'k'), data)
})

t.test('resume exits with 75 if OSS refuses a committed upload, whose prefix is kept', async t => {
  const { dir, oss, env } = await setUp(t)
  const data = bytes(COMMITTED)
  await leaveCommitted(dir, oss, 'k', data)
  const denied = oss.inject({ operation: 'CompleteMultipartUpload', ...DENIED })
  for (const args of [
    ['resume', 'k'],
    ['resume', '--all'],
  ]) {
    t.match(await run(dir, [...args, '--json'], undefined, env), {
      status: 75,
      out: /"ERR_SPOOL_DENIED".*"resumable":true/,
    })
  }
  t.match(JSON.parse((await run(dir, ['ls', '--json'])).out), {
    phase: 'sealed',
    committed: COMMITTED,
    size: COMMITTED,
    resumable: true,
  })
  t.match((await run(dir, ['show', 'k'])).out, /sealed: every byte up to its last commit is on/)
  t.match(JSON.parse((await run(dir, ['show', 'k', '--json'])).out), {
    committed: COMMITTED,
    committedAt: /^20/,
  })
  denied.remove()
  t.match(await run(dir, ['resume', 'k'], undefined, env), { status: 0 })
  t.same(await get(oss, 'k'), data)
})

t.test(
  'resume --all finishes sealed and committed uploads, and names all others without failing',
  async t => {
    const { dir, oss, env } = await setUp(t)
    const elsewhere = await server(t, join(dir, 'elsewhere'))
    const data = bytes(COMMITTED)
    await leaveCommitted(dir, oss, 'committed', data)
    await leaveCommitted(dir, elsewhere.oss, 'elsewhere', data)
    const unsealed = open(dir, oss, 'unsealed', {})
    await new Promise(resolve => unsealed.write(data, resolve))
    await fail(unsealed)
    const owned = open(dir, oss, 'owned', {})
    owned.write(data)
    await owned.commit()
    const taken = open(dir, oss, 'taken', { overwrite: false, start: 'sealed' })
    taken.write(bytes(PART))
    await taken.commit()
    await fail(taken)
    await run(dir, ['put', `oss://${BUCKET}/taken`, '--id=other'], bytes(1), env)
    const refusal = oss.inject({ operation: 'PutObject', ...DENIED })
    await run(dir, ['put', `oss://${BUCKET}/sealed`, '--id=sealed'], bytes(1000), env)
    refusal.remove()

    const args = ['resume', '--all', '--json']
    const { status, out, err } = await run(dir, args, undefined, env)
    t.equal(status, 0, err)
    t.same(
      out
        .split('\n')
        .slice(0, -1)
        .map(line => String(JSON.parse(line).id))
        .toSorted(),
      ['committed', 'sealed'],
    )
    t.same(await get(oss, 'committed'), data)
    t.match(
      err,
      `elsewhere (oss://${BUCKET}/elsewhere) is skipped: it belongs to ${elsewhere.oss.endpoint}\nTo finish it, run "oss-spool resume elsewhere --endpoint ${elsewhere.oss.endpoint} --region oss-cn-hangzhou".\n`,
    )
    t.match(err, /unsealed .* is skipped: it is not sealed/)
    t.match(err, /owned .* is skipped: its source is still being read/)
    t.match(
      err,
      /taken is skipped: ERR_SPOOL_OBJECT_EXISTS.*\n.*"oss-spool resume --to oss:\/\/BUCKET\/NEW-KEY taken"/,
    )

    const again = await run(dir, args, undefined, env)
    t.match(again, { status: 0, out: '', err: /taken .* is skipped: its key is taken/ })
    t.match(await run(dir, ['resume', '--force', 'taken'], undefined, env), { status: 0 })
    owned.end()
    await owned.result
  },
)

t.test('run starts its command although an upload with its id is committed', async t => {
  const { dir, oss, env } = await setUp(t)
  await leaveCommitted(dir, oss, 'k', bytes(COMMITTED))
  const failed = ['run', `oss://${BUCKET}/k`, '--id=k', '--', 'false']
  t.match(await run(dir, failed, undefined, env), { status: 1, out: '' })
  t.match(JSON.parse((await run(dir, ['ls', '--json'])).out), { committed: COMMITTED })
  const echo = ['run', `oss://${BUCKET}/k`, '--id=k', '--json', '--', 'echo', 'new']
  const { out, err } = await run(dir, echo, undefined, env)
  t.match(JSON.parse(out), { sourceRead: true, size: 4 }, err)
  t.equal(String(await get(oss, 'k')), 'new\n')
})

t.test('put --if-changed supersedes a committed upload of an unchanged file', async t => {
  const { dir, oss, env } = await setUp(t)
  const data = bytes(1000)
  await writeFile(join(dir, 'file'), data)
  const put = ['put', '--if-changed', '--json', '--id=k', `oss://${BUCKET}/k`, 'file']
  t.match(await run(dir, put, undefined, env), { status: 0 })
  t.match(await run(dir, put, undefined, env), { status: 0, out: /"unchanged":true/ })
  await leaveCommitted(dir, oss, 'k', bytes(COMMITTED))
  const { out, status } = await run(dir, put, undefined, env)
  t.equal(status, 0)
  t.notMatch(out, 'unchanged')
  t.match(await run(dir, ['ls', '--json']), { out: '' }, '`resume` cannot replace the object')
  t.same(await get(oss, 'k'), data)
})

t.test('abort and prune --sealed discard a committed upload, prune alone does not', async t => {
  const { dir, oss, env } = await setUp(t)
  const prune = ['prune', '--older-than=0s', '--yes']
  await leaveCommitted(dir, oss, 'k', bytes(COMMITTED))
  t.match(await run(dir, prune, undefined, env), { status: 0, out: '' })
  const line = 'oss-spool prune --older-than 0s --sealed'
  const asked = terminal(dir, line, 80, env)
  asked.child.stdout?.on('data', (chunk: Buffer) => {
    if (chunk.includes('[y/N]')) asked.child.stdin?.write('n\n')
  })
  t.match(await asked.done, { status: 1, out: /Remove .*sealed and committed uploads.*\[y\/N\]/ })
  t.match(await run(dir, [...prune, '--sealed'], undefined, env), {
    status: 0,
    out: /^k .*: upload removed\n$/,
  })
  await leaveCommitted(dir, oss, 'k', bytes(COMMITTED))
  t.match(await run(dir, ['abort', 'k', '--yes'], undefined, env), { status: 0 })
  t.same(await readdir(join(dir, 'spool')), [])
  t.equal(await get(oss, 'k'), undefined)
})

t.test('show names the upload ids whose Complete was never answered', async t => {
  const { dir, oss, env } = await setUp(t)
  const put = ['put', `oss://${BUCKET}/k`, '--id=k', '--part-size=100KiB', '--retries=1']
  const cut = (['CompleteMultipartUpload', 'HeadObject'] as const).map(operation =>
    oss.inject({ operation, do: 'reset', at: 'start', times: 'always' }),
  )
  t.match(await run(dir, put, bytes(2 * PART), env), { status: 75 })
  for (const fault of cut) fault.remove()
  const { uploadId } = JSON.parse((await run(dir, ['show', 'k', '--json'])).out)
  oss.inject({ operation: 'AbortMultipartUpload', ...DENIED })
  t.match(await run(dir, [...put, '--meta', 'run=b'], bytes(2 * PART), env), { status: 75 })
  t.match(JSON.parse((await run(dir, ['show', 'k', '--json'])).out), { unanswered: [uploadId] })
  t.match((await run(dir, ['show', 'k'])).out, `upload id ${uploadId} was never answered`)
})

t.test(
  'show says that an older upload is kept if that is sealed, not if it is a receipt',
  async t => {
    const { dir, oss, env } = await setUp(t)
    const put = ['put', `oss://${BUCKET}/k`, '--id=k', '--once', '--retries=1']
    const refused = oss.inject({ operation: 'PutObject', ...DENIED })
    t.match(await run(dir, put, bytes(1000), env), { status: 75 })
    await leaveCommitted(dir, oss, 'k', bytes(COMMITTED))
    t.match((await run(dir, ['show', 'k'])).out, 'an older sealed upload with this id is kept')
    refused.remove()
    t.match(await run(dir, ['abort', 'k', '--yes'], undefined, env), { status: 0 })
    t.match(await run(dir, put, bytes(1000), env), { status: 0 })
    await leaveCommitted(dir, oss, 'k', bytes(COMMITTED))
    const { out } = await run(dir, ['show', 'k'])
    t.match(out, 'spooling')
    t.notMatch(out, 'an older sealed upload')
  },
)
