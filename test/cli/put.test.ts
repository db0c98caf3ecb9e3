/** `put`: several files, patterns, folders, unchanged files, and unusable standard input. */
import { execFileSync } from 'node:child_process'
import { mkdir, open, readdir, readFile, readlink, rm, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { get, server, shell, start, until } from '../support/command-line.js'
import { run } from '../support/in-process.js'
import { BUCKET, bytes } from '../support/oss.js'
import { schema } from '../support/schema.js'
import { long } from '../support/long.js'

const isLinux = process.platform === 'linux'
const FOLDER = `oss://${BUCKET}/in/`

void long(
  t,
  'files go into a folder by name; patterns keep the path below their fixed part',
  async t => {
    const dir = t.testdir({
      a: 'A',
      'b [1].txt': 'B',
      logs: { 'x.log': 'X', deep: { 'y.log': 'Y', 'z.txt': 'Z' }, '.hidden.log': 'H' },
    })
    const { oss, env } = await server(t, dir)
    const done = await run(
      dir,
      ['put', FOLDER, 'a', 'b [1].txt', 'logs/**/*.log', '--json', '--meta=k=v'],
      undefined,
      env,
    )
    t.equal(done.status, 0, done.err)
    const keys = done.out
      .trim()
      .split('\n')
      .map(line => String(JSON.parse(line).key))
    t.same(keys.toSorted(), ['in/a', 'in/b [1].txt', 'in/deep/y.log', 'in/x.log'])
    t.equal(String(await get(oss, 'in/deep/y.log')), 'Y')
    t.equal(String(await get(oss, 'in/b [1].txt')), 'B')
    t.equal(await get(oss, 'in/.hidden.log'), undefined)
    for (const name of ['a', 'logs/x.log'])
      t.ok(await readFile(join(dir, name)), 'the file is copied, not moved')

    const one = await run(dir, ['put', `oss://${BUCKET}/`, 'logs/x.log', '--quiet'], undefined, env)
    t.equal(one.status, 0)
    t.equal(String(await get(oss, 'x.log')), 'X')
  },
)

t.test(
  '--max-spool: show reports the bytes that are only on OSS, and resume finishes the upload',
  async t => {
    const dir = t.testdir({})
    const { oss, env } = await server(t, dir)
    const part = 102_400
    const data = bytes(8 * part)
    const refusal = { do: 'answer', status: 403, code: 'AccessDenied', times: 'always' } as const
    const fault = oss.inject({ operation: 'UploadPart', partNumber: 8, ...refusal })
    const put = ['put', `oss://${BUCKET}/k`, '--id=k', '--max-spool=400KiB', '--parallel=3']
    const failed = await run(dir, put, data, env)
    t.equal(failed.status, 75)
    t.match(failed.err, /some of them only on OSS/)
    const shown = await run(dir, ['show', 'k', '--json'])
    const details = JSON.parse(shown.out)
    t.ok(schema('show')(details), 'matches the schema')
    t.ok(details.freed >= 4 * part, `${details.freed} bytes are freed`)
    t.match((await run(dir, ['show', 'k'])).out, /are only on OSS/)
    fault.remove()
    t.equal((await run(dir, ['resume', 'k', '--parallel=50'], undefined, env)).status, 0)
    t.same(await get(oss, 'k'), data)
  },
)

void long(
  t,
  'several files succeed or fail independently; exits with 75 if any can be resumed',
  async t => {
    const dir = t.testdir({ a: 'A', b: 'B', c: 'C' })
    const { oss, env } = await server(t, dir)
    const answer = { operation: 'PutObject', do: 'answer', times: 'always' } as const
    oss.inject({ ...answer, key: 'in/b', status: 403, code: 'AccessDenied' })
    const done = await run(
      dir,
      ['put', FOLDER, 'a', 'b', 'c', '--json', '--retries=1', '--parallel-uploads=2'],
      undefined,
      env,
    )
    t.equal(done.status, 75)
    const lines = done.out
      .trim()
      .split('\n')
      .map(line => JSON.parse(line))
    t.same(lines.map(line => String(line.key ?? line.error.code)).toSorted(), [
      'ERR_SPOOL_DENIED',
      'in/a',
      'in/c',
    ])
    const taken = await run(dir, ['put', FOLDER, 'a', '--no-overwrite'], undefined, env)
    t.match(taken, { status: 1, err: /ERR_SPOOL_OBJECT_EXISTS.*\n.*resume --to/ })
  },
)

void long(t, '--if-changed sends only files that differ in size or CRC64', async t => {
  const dir = t.testdir({ a: 'same', b: 'old', c: 'one' })
  const { oss, env } = await server(t, dir)
  const put = ['put', FOLDER, 'a', 'b', 'c', 'd', '--if-changed', '--json']
  await writeFile(join(dir, 'd'), '')
  t.equal((await run(dir, put, undefined, env)).status, 0)
  await writeFile(join(dir, 'b'), 'new')
  await writeFile(join(dir, 'c'), 'longer')
  const sent = oss.requests.length
  const again = await run(dir, put, undefined, env)
  t.equal(again.status, 0, again.err)
  const lines = again.out
    .trim()
    .split('\n')
    .map(line => JSON.parse(line))
  const unchanged = lines.filter(line => line.unchanged)
  t.same(unchanged.map(line => String(line.key)).toSorted(), ['in/a', 'in/d'])
  t.match(
    unchanged.find(line => line.key === 'in/a'),
    { size: 4, sent: 0, skipped: 4, sourceRead: false },
  )
  const bodies = oss.requests.slice(sent).filter(({ operation }) => operation === 'PutObject')
  t.same(bodies.map(({ key }) => String(key)).toSorted(), ['in/b', 'in/c'])
  t.equal(String(await get(oss, 'in/b')), 'new')

  oss.inject({ operation: 'HeadObject', do: 'answer', status: 403, code: 'AccessDenied' })
  const blind = await run(dir, ['put', FOLDER, 'a', '--if-changed', '--json'], undefined, env)
  t.match(blind, { status: 0, err: /counts as changed/ })
  t.equal(JSON.parse(blind.out).unchanged, undefined)
})

void long(t, 'uploading a file again supersedes its sealed upload', async t => {
  const dir = t.testdir({ a: 'old' })
  const { oss, env } = await server(t, dir)
  const fault = oss.inject({
    operation: 'PutObject',
    do: 'answer',
    status: 403,
    code: 'AccessDenied',
    times: 'always',
  })
  t.equal((await run(dir, ['put', FOLDER, 'a', '--retries=1'], undefined, env)).status, 75)
  fault.remove()
  await writeFile(join(dir, 'a'), 'new')
  t.equal((await run(dir, ['put', FOLDER, 'a'], undefined, env)).status, 0)
  t.equal(String(await get(oss, 'in/a')), 'new')
})

t.test('closed standard input is rejected; /dev/null uploads an empty object', async t => {
  const dir = t.testdir({})
  const { oss, env } = await server(t, dir)
  const K = `oss://${BUCKET}/k`
  const closed = await shell(dir, `oss-spool put ${K} <&-`, env).done
  t.match(closed, { status: 2, out: '', err: /ERR_USAGE: Standard input is closed/ })
  t.equal(await get(oss, 'k'), undefined)
  t.equal((await shell(dir, `oss-spool put ${K} - </dev/null`, env).done).status, 0)
  t.equal((await get(oss, 'k'))?.length, 0)
})

t.test('a directory as standard input is rejected', async t => {
  const dir = t.testdir({})
  const { oss, env } = await server(t, dir)
  const directory = await shell(dir, `oss-spool put oss://${BUCKET}/k < .`, env).done
  t.match(directory, { status: 2, out: '', err: /ERR_USAGE: Standard input is a directory/ })
  t.equal(await get(oss, 'k'), undefined)
})

t.test(
  '--if-changed supersedes a sealed upload of other content, so that resume cannot publish it',
  async t => {
    const dir = t.testdir({ a: 'same' })
    const { oss, env } = await server(t, dir)
    const put = ['put', FOLDER, 'a', '--retries=1']
    t.equal((await run(dir, put, undefined, env)).status, 0)
    const refusal = { do: 'answer', status: 403, code: 'AccessDenied', times: 'always' } as const
    const fault = oss.inject({ operation: 'PutObject', ...refusal })
    await writeFile(join(dir, 'a'), 'other')
    t.equal((await run(dir, put, undefined, env)).status, 75)
    fault.remove()
    await writeFile(join(dir, 'a'), 'same')
    t.equal((await run(dir, [...put, '--if-changed'], undefined, env)).status, 0)
    t.equal((await run(dir, ['resume', '--all'], undefined, env)).status, 0)
    t.equal(String(await get(oss, 'in/a')), 'same')
  },
)

void long(t, 'a file that is removed while it waits fails alone', async t => {
  const dir = t.testdir({})
  const { env } = await server(t, dir)
  await mkdir(join(dir, 'many'))
  await writeFile(join(dir, 'many', 'a'), 'A')
  await writeFile(join(dir, 'many', 'b'), 'B')
  const fifo = shell(
    dir,
    `mkfifo many/c; oss-spool put ${FOLDER} many/c many/a --parallel-uploads=1 --json`,
    env,
  )
  await new Promise(resolve => setTimeout(resolve, 1500))
  await rm(join(dir, 'many', 'a'))
  await writeFile(join(dir, 'many', 'c'), 'from a pipe')
  const done = await fifo.done
  t.equal(done.status, 1, done.err)
  t.match(done.out, /"key":"in\/c".*\n.*ERR_SPOOL_SOURCE_FAILED/)
})

t.test('SIGTERM ends the read of a FIFO', { skip: !isLinux }, async t => {
  const dir = t.testdir({})
  const { oss, env } = await server(t, dir)
  for (const hasWriter of [false, true]) {
    const name = `fifo-${hasWriter}`
    const fifo = join(dir, name)
    execFileSync('mkfifo', [fifo])
    const { child, done } = start(dir, ['put', FOLDER, name], undefined, env)
    const writer = hasWriter ? await open(fifo, 'w') : undefined
    await writer?.write('idle')
    await until(() => isOpenIn(child.pid, fifo))
    child.kill('SIGTERM')
    t.match(await done, { status: 143, err: /ERR_SPOOL_ABORTED/ })
    await writer?.close()
    t.equal(await get(oss, `in/${name}`), undefined)
  }
})

t.test('a FIFO is read to its end, however late its writer opens it', async t => {
  const dir = t.testdir({})
  const { oss, env } = await server(t, dir)
  execFileSync('mkfifo', [join(dir, 'fifo')])
  const { child, done } = start(dir, ['put', FOLDER, 'fifo'], undefined, env)
  if (isLinux) await until(() => isOpenIn(child.pid, join(dir, 'fifo')))
  const content = bytes(300_000)
  await writeFile(join(dir, 'fifo'), content)
  t.match(await done, { status: 0 })
  t.same(await get(oss, 'in/fifo'), content)
})

t.test('--if-changed stops comparing at a signal', { skip: !isLinux }, async t => {
  const size = 2 ** 40
  const dir = t.testdir({ large: '' })
  const { oss, env } = await server(t, dir)
  await truncate(join(dir, 'large'), size)
  t.equal((await run(dir, ['put', FOLDER + 'large'], Buffer.from('x'), env)).status, 0)
  oss.inject({
    operation: 'HeadObject',
    do: 'alter',
    headers: { 'content-length': String(size) },
    times: 'always',
  })
  const args = ['put', FOLDER, 'large', '--if-changed']
  const { child, done } = start(dir, args, undefined, env)
  await until(() => isOpenIn(child.pid, join(dir, 'large')))
  child.kill('SIGINT')
  t.match(await done, { status: 130, out: '', err: /ERR_SPOOL_ABORTED/ })
  t.notOk(oss.requests.some(({ operation }) => operation === 'UploadPart'))
})

/** Resolves with whether a process has a file open. */
async function isOpenIn(pid: number | undefined, file: string): Promise<boolean> {
  const directory = `/proc/${pid}/fd`
  const names = await readdir(directory).catch(() => [])
  const files = await Promise.all(
    names.map(name => readlink(join(directory, name)).catch(() => '')),
  )
  return files.includes(file)
}
