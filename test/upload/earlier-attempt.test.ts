/**
 * An earlier attempt of ours that OSS answered wrongly or not at all: its object may be right after
 * all, and what came after it must neither be left on OSS nor stand in its way (rule 8).
 */
import { readdir } from 'node:fs/promises'
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

/** Uploads `data`, which fails; the id, and what its caller was told. */
async function failing(
  b: Bench,
  data: Buffer,
  options: { overwrite?: boolean } = {},
): Promise<{ id: string; error: SpoolError }> {
  const sink = b.spool.createWriteStream('key', options)
  sink.on('error', () => {})
  sink.end(data)
  // What rejects `result` is a SpoolError: its codes are asserted by who calls this.
  const error = await sink.result.then(
    () => Promise.reject(new Error('it did not fail')),
    (reason: unknown) => reason as SpoolError,
  )
  return { id: sink.id, error }
}

/** The object is there, and nothing else is: neither here nor on OSS. */
async function nothingLeft(test: Test, b: Bench, data: Buffer): Promise<void> {
  test.same(await b.get('key'), data)
  test.same(await readdir(b.dir), [])
  const { uploads } = await new OSS(b.oss.clientOptions(BUCKET)).listUploads(
    { 'max-uploads': 10 },
    {},
  )
  test.same(uploads, [])
}

for (const { operation, data } of cases) {
  t.test(`${operation}: a key taken by an attempt whose CRC64 was told wrong is ours`, async t => {
    const b = await bench(t)
    b.oss.inject({ operation, ...WRONG, times: 1 })
    const { id, error } = await failing(b, data, { overwrite: false })
    t.match(error, { code: 'ERR_SPOOL_VERIFY', resumable: true })
    t.match(await b.another().resume(id), { size: data.length })
    await nothingLeft(t, b, data)
  })

  t.test(`${operation}: --force needs no right to look`, async t => {
    const b = await bench(t)
    b.oss.inject({ operation, do: 'reset', at: 'start', times: 1 })
    b.oss.inject({ ...HEAD, ...DENIED, times: 'always' })
    const { id, error } = await failing(b, data)
    t.match(error, { code: 'ERR_SPOOL_DENIED', resumable: true })
    t.notMatch(error.message, /nothing published/, 'that is not known')
    await t.rejects(b.another().resume(id), { code: 'ERR_SPOOL_DENIED', resumable: true })
    t.match(await b.another().resume(id, { force: true }), { size: data.length })
    b.oss.clearFaults()
    await nothingLeft(t, b, data)
  })
}

t.test('found by HEAD under another upload id: the one that was sent after is aborted', async t => {
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

t.test('a stream that borrowed the upload id of one that was published after all', async t => {
  const b = await bench(t)
  b.oss.inject({ ...COMPLETE, ...DENIED })
  const { id } = await failing(b, DATA)
  const died = b.spool.createWriteStream('key')
  died.on('error', () => {})
  await new Promise(resolve => died.write(DATA.subarray(0, 2 * PART), resolve))
  await sleep(100) // its first parts are compared with what OSS has
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
