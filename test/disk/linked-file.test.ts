/** A file that is read in place: failures of its own disk, and changes after the seal. */
import * as fs from 'node:fs'
import { createReadStream } from 'node:fs'
import { rename, rm, utimes, writeFile } from 'node:fs/promises'
import t, { type Test } from 'tap'
import type { Spool } from '../../src/index.js'
import { bench, bytes, type Bench } from '../support/oss.js'

const DATA = bytes(1000)

interface Site extends Bench {
  readonly file: string
  readonly spool: Spool
}

/** Writes a file beside the directory of the emulator. */
async function fileOf(t: Test): Promise<string> {
  const file = `${t.testdirName}-file`
  t.teardown(() => rm(file, { force: true }))
  await writeFile(file, DATA)
  return file
}

/** Sets up a spool whose `fdatasync` of the file fails with `code`. */
async function failingSync(t: Test, code: string): Promise<Site> {
  const b = await bench(t)
  const file = await fileOf(t)
  const { ino } = fs.statSync(file)
  const fdatasync = (fd: number, done: (error: Error | null) => void): void => {
    if (fs.fstatSync(fd).ino !== ino) return fs.fdatasync(fd, done)
    setImmediate(done, Object.assign(new Error(`${code}: fdatasync`), { code }))
  }
  const { Spool: MockedSpool } = await t.mockImport<typeof import('../../src/index.js')>(
    new URL('../../src/index.js', import.meta.url).href,
    { 'node:fs': t.createMock(fs, { fdatasync }) },
  )
  const spool = new MockedSpool({ client: b.oss.clientOptions('test-bucket'), dir: b.dir })
  return { ...b, spool, file }
}

const upload = ({ spool, file }: Site): ReturnType<Spool['upload']> =>
  spool.upload('key', () => createReadStream(file), { id: 'id', inPlace: file })

t.test('upload() blames the file in place, and not the spool, if its disk fails', async t => {
  const expected = { EIO: 'ERR_SPOOL_IO', ENOSPC: 'ERR_SPOOL_FULL' }
  for (const [errno, code] of Object.entries(expected)) {
    const site = await failingSync(t, errno)
    const error: unknown = await upload(site).catch((reason: unknown) => reason)
    t.match(error, { code, resumable: false, cause: { code: 'ERR_FILE_FAILED' } })
    t.notMatch(String(error), 'spool directory')
    t.equal(await site.get('key'), undefined)
  }
})

t.test('upload() accepts a file in place on a file system that cannot sync', async t => {
  for (const errno of ['EINVAL', 'EROFS']) {
    const site = await failingSync(t, errno)
    await upload(site)
    t.same(await site.get('key'), DATA)
  }
})

t.test('uploads() lists no upload as resumable whose file in place has changed', async t => {
  const b = await bench(t)
  const file = await fileOf(t)
  const refusal = b.oss.inject({
    operation: 'PutObject',
    do: 'answer',
    status: 403,
    times: 'always',
  })
  await t.rejects(upload({ ...b, file }), { code: 'ERR_SPOOL_DENIED', resumable: true })
  refusal.remove()
  const isResumable = async (): Promise<unknown> => (await b.spool.uploads())[0]?.resumable
  t.equal(await isResumable(), true)
  await rename(file, `${file}-away`)
  t.equal(await isResumable(), false, 'gone')
  await t.rejects(b.spool.resume('id'), { code: 'ERR_SPOOL_SOURCE_FAILED', resumable: false })
  await writeFile(file, DATA)
  t.equal(await isResumable(), false, 'replaced')
  await rename(`${file}-away`, file)
  t.equal(await isResumable(), true, 'back')
  await b.spool.resume('id')
  t.same(await b.get('key'), DATA)
})

t.test("upload() with replay: 'offset' starts again if the file in place has changed", async t => {
  const b = await bench(t)
  const file = await fileOf(t)
  const options = { id: 'id', inPlace: file, replay: 'offset' } as const
  const failing = async function* (): AsyncGenerator<Buffer> {
    yield DATA.subarray(0, 500)
    throw new Error('lost')
  }
  await t.rejects(b.spool.upload('key', failing, options), { code: 'ERR_SPOOL_SOURCE_FAILED' })
  await utimes(file, 1, 1)
  const source = ({ offset }: { offset: number }): fs.ReadStream =>
    createReadStream(file, { start: offset })
  await b.spool.upload('key', source, options)
  t.same(await b.get('key'), DATA)
})
