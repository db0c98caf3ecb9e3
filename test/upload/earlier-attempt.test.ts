/**
 * Earlier attempts whose reply was wrong or lost. The object may have been published correctly all the same.
 * Later attempts must neither leave anything on OSS nor prevent this from being detected (rule 8).
 */
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import OSS from 'ali-oss'
import t, { type Test } from 'tap'
import type { SpoolError } from '../../src/index.js'
import { bench, BUCKET, bytes, type Bench } from '../support/oss.js'

const PART = 102_400
const DATA = bytes(3 * PART + 50)
const COMPLETE = { operation: 'CompleteMultipartUpload', times: 1 } as const
const HEAD = { operation: 'HeadObject' } as const
const LOST = { do: 'reset', at: 'done' } as const
const DENIED = { do: 'answer', status: 403, code: 'AccessDenied' } as const
const UNAVAILABLE = { do: 'answer', status: 503, code: 'ServiceUnavailable' } as const
const WRONG = { do: 'alter', headers: { 'x-oss-hash-crc64ecma': '42' } } as const
const cases = [
  { operation: 'CompleteMultipartUpload', data: DATA },
  { operation: 'PutObject', data: DATA.subarray(0, 1000) },
] as const

/** Starts an upload of `data` that fails. Resolves with its id and error. */
async function failing(
  b: Bench,
  data: Buffer,
  options: { overwrite?: boolean } = {},
): Promise<{ id: string; error: SpoolError }> {
  const sink = b.spool.createWriteStream('key', options)
  sink.on('error', () => {})
  sink.end(data)
  // `result` rejects with a SpoolError, whose code is asserted by the callers.
  const error = await sink.result.then(
    () => Promise.reject(new Error('The upload did not fail')),
    (reason: unknown) => reason as SpoolError,
  )
  return { id: sink.id, error }
}

/** Asserts that the object exists and that nothing else is left, on disk or on OSS. */
async function nothingLeft(test: Test, b: Bench, data: Buffer): Promise<void> {
  test.same(await b.get('key'), data)
  test.same(await readdir(b.dir), [])
  const { uploads } = await new OSS(b.oss.clientOptions(BUCKET)).listUploads(
    { 'max-uploads': 10 },
    {},
  )
  test.same(uploads, [])
}

for (const finished of ['upload()', 'resume()'] as const) {
  t.test(
    `once leaves a receipt if ${finished} finishes what a later stream was to replace`,
    async t => {
      const b = await bench(t)
      const once = { id: 'id', once: true }
      b.oss.inject({ ...COMPLETE, ...DENIED })
      await t.rejects(
        b.spool.upload('key', () => [DATA], once),
        { code: 'ERR_SPOOL_DENIED' },
      )
      const older = (await b.spool.uploads())[0]?.uploadId
      const died = b.spool.createWriteStream('key', { id: 'id', meta: { run: 'b' } })
      died.on('error', () => {})
      died.write(DATA.toReversed())
      const isRecorded = async (): Promise<boolean> => {
        const [{ uploadId } = {}] = await b.another().uploads()
        return uploadId !== undefined && uploadId !== older
      }
      while (!(await isRecorded())) await sleep(5)
      died.destroy(new Error('died'))
      await died.result.catch(() => undefined)
      const never = () => Promise.reject(new Error('The source was called'))
      const again =
        finished === 'upload()' ? b.spool.upload('key', never, once) : b.spool.resume('id')
      t.match(await again, { size: DATA.length, sourceRead: false, receipt: undefined })
      t.match(await b.another().upload('key', never, once), { size: DATA.length, receipt: true })
      t.same((await readdir(join(b.dir, 'id'))).toSorted(), ['checkpoint.json', 'lock'])
      await b.another().forget('id')
      await nothingLeft(t, b, DATA)
    },
  )
}

for (const { operation, data } of cases) {
  t.test(
    `${operation}: resume() recognises the object of an attempt with a wrong CRC64`,
    async t => {
      const b = await bench(t)
      b.oss.inject({ operation, ...WRONG, times: 1 })
      const { id, error } = await failing(b, data, { overwrite: false })
      t.match(error, { code: 'ERR_SPOOL_VERIFY', resumable: true })
      t.match(await b.another().resume(id), { size: data.length })
      await nothingLeft(t, b, data)
    },
  )

  t.test(`${operation}: resume() with force works without permission for HEAD`, async t => {
    const b = await bench(t)
    b.oss.inject({ operation, ...LOST, times: 1 })
    b.oss.inject({ ...HEAD, ...DENIED, times: 'always' })
    const { id, error } = await failing(b, data)
    t.match(error, { code: 'ERR_SPOOL_DENIED', resumable: true })
    t.notMatch(error.message, /Nothing was published/, 'the outcome is unknown')
    await t.rejects(b.another().resume(id), { code: 'ERR_SPOOL_DENIED', resumable: true })
    t.match(await b.another().resume(id, { force: true }), { size: data.length })
    b.oss.clearFaults()
    await nothingLeft(t, b, data)
  })
}

t.test('resume() aborts the newer upload id if an older one turns out to be published', async t => {
  const b = await bench(t)
  b.oss.inject({ ...COMPLETE, ...LOST })
  b.oss.inject({ ...HEAD, ...DENIED, times: 1 })
  const { id, error } = await failing(b, DATA)
  t.match(error, { code: 'ERR_SPOOL_DENIED', resumable: true })
  b.oss.inject({ ...HEAD, ...WRONG, times: 2 })
  b.oss.inject({ ...COMPLETE, ...UNAVAILABLE })
  t.match(await b.another().resume(id, { force: true }), { size: DATA.length })
  await nothingLeft(t, b, DATA)
})

t.test('a stream succeeds although the upload id it shares turns out to be completed', async t => {
  const b = await bench(t)
  b.oss.inject({ ...COMPLETE, ...DENIED })
  const { id } = await failing(b, DATA)
  const died = b.spool.createWriteStream('key')
  died.on('error', () => {})
  await new Promise(resolve => died.write(DATA.subarray(0, 2 * PART), resolve))
  await sleep(100) // its first parts are compared with the acknowledged ones
  died.destroy(new Error('died'))
  await died.result.catch(() => undefined)
  b.oss.inject({ ...COMPLETE, ...LOST })
  b.oss.inject({ ...HEAD, ...DENIED, times: 1 })
  await t.rejects(b.another().resume(id), { code: 'ERR_SPOOL_DENIED' })
  b.oss.inject({ ...COMPLETE, ...UNAVAILABLE })
  const again = b.spool.createWriteStream('key')
  await new Promise(resolve => again.write(DATA.subarray(0, 2 * PART), resolve))
  await sleep(100)
  again.end(DATA.subarray(2 * PART))
  await again.result
  await nothingLeft(t, b, DATA)
})
