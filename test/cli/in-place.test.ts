/** `put --in-place`: reads the file where it is, never touches it, and fails if it changes. */
import {
  appendFile,
  mkdir,
  open,
  readdir,
  readFile,
  rename,
  stat,
  utimes,
  writeFile,
} from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { get, PART, server, start, until, type Env } from '../support/command-line.js'
import { run } from '../support/in-process.js'
import { BUCKET, bytes } from '../support/oss.js'
import { long } from '../support/long.js'

const K = `oss://${BUCKET}/k`
const PUT = ['put', K, 'file', '--in-place', '--part-size=100KiB', '--id=k', '--json']

/** Resolves to the metadata and bytes of a file, to detect any change. */
async function snapshot(path: string): Promise<unknown> {
  const { size, ino, mtimeMs, mode, nlink } = await stat(path)
  return { size, ino, mtimeMs, mode, nlink, bytes: (await readFile(path)).toString('base64') }
}

/** Seals an upload and kills the process while two of three parts are on OSS. */
async function sealAndKill(t: Test): Promise<{
  dir: string
  env: Env
  oss: Awaited<ReturnType<typeof server>>['oss']
  data: Buffer
}> {
  const dir = t.testdir({})
  const data = bytes(3 * PART)
  await writeFile(join(dir, 'file'), data)
  const { oss, env } = await server(t, dir)
  const unavailable = { do: 'answer', status: 503, code: 'ServiceUnavailable' } as const
  const fault = oss.inject({
    operation: 'UploadPart',
    partNumber: 2,
    ...unavailable,
    times: 'always',
  })
  const { child, done } = start(dir, [...PUT, '--retries=1000'], undefined, env)
  await until(async () =>
    /"phase":"sealed".*"parts":2/.test((await run(dir, ['ls', '--json'])).out),
  )
  child.kill('SIGKILL')
  await done
  fault.remove()
  return { dir, env, oss, data }
}

void long(t, 'does not copy the bytes and leaves the file unchanged', async t => {
  for (const size of [0, 10, 5 * PART + 1]) {
    const dir = t.testdir({})
    const data = bytes(size)
    await writeFile(join(dir, 'file'), data, { mode: 0o444 })
    const before = await snapshot(join(dir, 'file'))
    const { oss, env } = await server(t, dir)
    const held = oss.inject({ operation: ['PutObject', 'CompleteMultipartUpload'], do: 'hang' })
    const { done } = start(dir, PUT, undefined, env)
    await held.hit()
    const names = await readdir(join(dir, 'spool', 'k'), { withFileTypes: true })
    t.same(
      names
        .filter(entry => entry.isFile())
        .map(({ name }) => name)
        .toSorted(),
      ['checkpoint.json', 'lock'],
    )
    held.remove()
    const { out, err, status } = await done
    t.equal(status, 0, err)
    t.match(JSON.parse(out), { size, sent: size, sourceRead: size > 0 })
    t.same(await get(oss, 'k'), data)
    t.same(await snapshot(join(dir, 'file')), before)
    t.same(await readdir(join(dir, 'spool')), [])
  }
})

t.test('resume after a kill reads the file where it is', async t => {
  const { dir, env, oss, data } = await sealAndKill(t)
  const before = await snapshot(join(dir, 'file'))
  const resumed = await run(dir, ['resume', '--all', '--json'], undefined, env)
  t.equal(resumed.status, 0, resumed.err)
  t.match(JSON.parse(resumed.out), {
    resumed: true,
    sourceRead: false,
    skipped: 2 * PART,
    sent: PART,
  })
  t.same(await get(oss, 'k'), data)
  t.same(await snapshot(join(dir, 'file')), before)
})

void long(
  t,
  'any change after the seal fails with ERR_SPOOL_SOURCE_FAILED, not resumable, nothing published',
  async t => {
    const { dir, env, oss, data } = await sealAndKill(t)
    const file = join(dir, 'file')
    const { atime, mtime } = await stat(file)
    await rename(file, join(dir, 'away'))
    const assertFails = async (change: string): Promise<void> => {
      const { status, out } = await run(dir, ['resume', 'k', '--json'], undefined, env)
      t.equal(status, 1, change)
      t.match(
        JSON.parse(out),
        { error: { code: 'ERR_SPOOL_SOURCE_FAILED', resumable: false } },
        change,
      )
      t.equal(await get(oss, 'k'), undefined, change)
    }
    await assertFails('gone')
    await writeFile(file, data)
    await utimes(file, atime, mtime)
    await assertFails('another file with the same bytes and time')
    await rename(join(dir, 'away'), file)
    await appendFile(file, 'x')
    await assertFails('longer')
    t.match(await run(dir, ['resume', '--all'], undefined, env), {
      status: 1,
      err: /ERR_SPOOL_SOURCE_FAILED/,
    })
    t.match(await run(dir, ['show', 'k'], undefined, env), {
      out: /\nNext: upload the current file again, or run "oss-spool abort k"\n/,
    })
    const again = await run(dir, PUT, undefined, env)
    t.equal(again.status, 0, again.err)
    t.same(
      await get(oss, 'k'),
      Buffer.concat([data, Buffer.from('x')]),
      'uploading again publishes the current content',
    )
  },
)

t.test('show proposes no resume of an upload whose file has changed', async t => {
  const dir = t.testdir({ file: 'content' })
  const { oss, env } = await server(t, dir)
  const refused = oss.inject({
    operation: 'PutObject',
    do: 'answer',
    status: 403,
    code: 'AccessDenied',
  })
  t.equal((await run(dir, PUT, undefined, env)).status, 75)
  refused.remove()
  t.match((await run(dir, ['show', 'k'], undefined, env)).out, 'Next: run "oss-spool resume')
  await appendFile(join(dir, 'file'), 'more')
  const { out } = await run(dir, ['show', 'k'], undefined, env)
  t.match(out, 'Next: upload the current file again')
  t.notMatch(out, 'every byte')
  t.equal((await run(dir, PUT, undefined, env)).status, 0)
})

t.test('a change while the file is read publishes nothing', async t => {
  const dir = t.testdir({})
  const { oss, env } = await server(t, dir)
  const size = 8 * 1024 * 1024
  await writeFile(join(dir, 'file'), bytes(size))
  const held = oss.inject({
    operation: 'UploadPart',
    partNumber: 1,
    do: 'delay',
    ms: 300,
    at: 'start',
  })
  const { done } = start(dir, PUT, undefined, env)
  await held.hit()
  // Change the middle of the file and restore its times, like a writer unaware of the upload.
  const { atime, mtime } = await stat(join(dir, 'file'))
  const file = await open(join(dir, 'file'), 'r+')
  await file.write(bytes(1000), 0, 1000, size / 2)
  await file.close()
  await utimes(join(dir, 'file'), atime, mtime)
  const { status, out } = await done
  t.equal(status, 1)
  t.match(JSON.parse(out), { error: { code: 'ERR_SPOOL_SOURCE_FAILED', resumable: false } })
  t.equal(await get(oss, 'k'), undefined)
})

void long(t, 'abort, prune and the quarantine remove the link and keep the file', async t => {
  const { dir, env, oss } = await sealAndKill(t)
  const before = await snapshot(join(dir, 'file'))
  await appendFile(join(dir, 'spool', 'k', 'checkpoint.json'), 'damage')
  t.match(await run(dir, ['ls']), { out: /QUARANTINE/ })
  const denied = { do: 'answer', status: 403, code: 'AccessDenied', times: 'always' } as const
  const fault = oss.inject({ operation: 'UploadPart', ...denied })
  t.equal((await run(dir, [...PUT, '--retries=1'], undefined, env)).status, 75)
  fault.remove()
  const pruned = await run(dir, ['prune', '--older-than=0s', '--sealed'], undefined, env)
  t.match(pruned.out, /^k \(.*\): upload removed\nk-.*: quarantine removed\n$/)
  t.same(await readdir(join(dir, 'spool')), ['quarantine'])
  t.same(await readdir(join(dir, 'spool', 'quarantine')), [])
  t.same(await snapshot(join(dir, 'file')), before)
})

t.test('rejects standard input and devices, which cannot be read twice', async t => {
  const dir = t.testdir({})
  const { env } = await server(t, dir)
  await mkdir(join(dir, 'folder'))
  t.match(await run(dir, ['put', K, '--in-place'], Buffer.from('x'), env), {
    status: 2,
    err: /needs a FILE/,
  })
  t.match(await run(dir, ['put', K, '/dev/null', '--in-place'], undefined, env), {
    status: 2,
    err: /regular files/,
  })
})
