/**
 * "Did my Complete succeed?" in the cases where OSS gives no answer: Completes of earlier runs that are still on
 * their way, a policy that permits only writing, a Complete that is never answered, and replies that are not
 * OSS's (rule 8).
 */
import { readdir } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import OSS from 'ali-oss'
import t, { type Test } from 'tap'
import type { OperationName } from '../../src/emulator/index.js'
import type { SpoolError, UploadOptions } from '../../src/index.js'
import { bench, BUCKET, bytes, type Bench } from '../support/oss.js'

const PART = 102_400
const DENIED = { do: 'answer', status: 403, code: 'AccessDenied' } as const
const COMPLETE = 'CompleteMultipartUpload'

/** Uploads `data` by a sink and expects it to fail. */
async function failing(b: Bench, data: Buffer, options: UploadOptions = {}): Promise<SpoolError> {
  const sink = b.another().createWriteStream('key', { id: 'id', ...options })
  sink.on('error', () => {})
  sink.end(data)
  return sink.result.then(
    () => Promise.reject(new Error('The upload did not fail')),
    (reason: unknown) => reason as SpoolError, // whose code is asserted by the callers
  )
}

function refuse(b: Bench, ...operations: OperationName[]): void {
  for (const operation of operations) b.oss.inject({ operation, ...DENIED, times: 'always' })
}

async function published(test: Test, b: Bench, data: Buffer): Promise<void> {
  b.oss.clearFaults()
  test.same(await b.get('key'), data)
  test.same(await readdir(b.dir), [], 'nothing is left on disk')
  const { uploads } = await new OSS(b.oss.clientOptions(BUCKET)).listUploads(
    { 'max-uploads': 10 },
    {},
  )
  test.same(uploads, [], 'nothing is left on OSS')
}

// --- Completes of earlier runs --------------------------------------------------------------------

/** Leaves an upload whose Complete was not answered and may still be on its way. Resolves with its upload id. */
async function leaveUnanswered(b: Bench, data: Buffer): Promise<string> {
  const faults = [
    b.oss.inject({ operation: COMPLETE, do: 'reset', at: 'start', times: 'always' }),
    b.oss.inject({ operation: 'HeadObject', do: 'reset', at: 'start', times: 'always' }),
  ]
  const error = await failing(b, data)
  for (const fault of faults) fault.remove()
  t.match(error, { code: 'ERR_SPOOL_UPLOAD_FAILED', resumable: true, uploadId: String })
  t.notMatch(error.message, /Nothing was published/)
  return error.uploadId ?? ''
}

const successors = [
  { name: 'other metadata', data: bytes(3 * PART + 7), options: { meta: { run: 'b' } } },
  { name: 'a PutObject', data: bytes(1000), options: {} },
  { name: 'the same options', data: bytes(3 * PART + 7), options: {} },
] as const

for (const { name, data, options } of successors) {
  t.test(`a late Complete of an earlier run cannot replace its successor with ${name}`, async t => {
    const b = await bench(t)
    const older = bytes(2 * PART + 5)
    const uploadId = await leaveUnanswered(b, older)
    const client = new OSS(b.oss.clientOptions(BUCKET))
    // With numbers, as its typings require, `ali-oss` computes a wrong signature.
    const query = { 'max-parts': '10', 'part-number-marker': '0' } as never
    const { parts } = await client.listParts('key', uploadId, query)
    await b.another().upload('key', () => [data], { id: 'id', maxAge: 0, ...options })
    const late = parts.map(({ PartNumber, ETag }: { PartNumber: unknown; ETag: string }) => ({
      number: Number(PartNumber),
      etag: ETag,
    }))
    if (name !== 'the same options') {
      const operations = b.oss.requests.map(({ operation, status }) => `${operation} ${status}`)
      const published = data.length > PART ? `${COMPLETE} 200` : 'PutObject 200'
      t.ok(
        operations.indexOf('AbortMultipartUpload 404') < operations.indexOf(published),
        'the older upload id is gone before the object is published',
      )
    }
    await t.rejects(client.completeMultipartUpload('key', uploadId, late), { code: 'NoSuchUpload' })
    await published(t, b, data)
  })
}

for (const [name, fault, code] of [
  ['refuses', DENIED, 'ERR_SPOOL_DENIED'],
  ['does not answer', { do: 'reset', at: 'start' }, 'ERR_SPOOL_UPLOAD_FAILED'],
] as const) {
  t.test(
    `nothing is published while OSS ${name} to abort an older upload id, except with force`,
    async t => {
      const b = await bench(t)
      await leaveUnanswered(b, bytes(2 * PART + 5))
      b.oss.inject({ operation: 'AbortMultipartUpload', ...fault, times: 'always' })
      const data = bytes(3 * PART + 7)
      const error = await failing(b, data, { meta: { run: 'b' } })
      t.match(error, { code, resumable: true, id: 'id' })
      t.equal(await b.get('key'), undefined)
      await t.rejects(b.another().resume('id'), { code, resumable: true })
      t.match(await b.another().resume('id', { force: true }), { size: data.length })
      t.same(await b.get('key'), data)
      b.oss.clearFaults()
      await b.another().prune({ olderThan: 0 })
      await published(t, b, data)
    },
  )
}

t.test('the older upload id is not aborted first if its Complete was refused', async t => {
  const b = await bench(t)
  b.oss.inject({ operation: COMPLETE, ...DENIED, times: 1 })
  t.match(await failing(b, bytes(2 * PART + 5)), { code: 'ERR_SPOOL_DENIED' })
  b.oss.inject({ operation: 'AbortMultipartUpload', ...DENIED, times: 1 })
  const data = bytes(3 * PART + 7)
  await b.another().upload('key', () => [data], { id: 'id', maxAge: 0, meta: { run: 'b' } })
  t.same(await b.get('key'), data)
})

t.test('an upload id whose Complete was answered at last is not aborted before others', async t => {
  const b = await bench(t)
  refuse(b, 'AbortMultipartUpload')
  b.oss.inject({ operation: COMPLETE, do: 'reset', at: 'start', times: 1 })
  await b.another().upload('key', () => [bytes(2 * PART + 5)], { id: 'id', once: true })
  const data = bytes(3 * PART + 7)
  const sink = b.another().createWriteStream('key', { id: 'id' })
  sink.end(data)
  await sink.result
  await published(t, b, data)
})

t.test('an upload id that is gone needs no abort, although its object was replaced', async t => {
  const b = await bench(t)
  const uploadId = await leaveUnanswered(b, bytes(2 * PART + 5))
  const client = new OSS(b.oss.clientOptions(BUCKET))
  await client.abortMultipartUpload('key', uploadId)
  await client.put('key', bytes(77))
  refuse(b, 'AbortMultipartUpload')
  const data = bytes(3 * PART + 7)
  const sink = b.another().createWriteStream('key', { id: 'id', meta: { run: 'b' } })
  sink.end(data)
  await sink.result
  t.same(await b.get('key'), data)
  b.oss.clearFaults()
  await b.another().prune({ olderThan: 0 })
  await published(t, b, data)
})

t.test('an upload id that is gone is not aborted before the object is published', async t => {
  const b = await bench(t)
  refuse(b, 'AbortMultipartUpload')
  const lost = b.oss.inject({ operation: COMPLETE, do: 'reset', at: 'start', times: 1 })
  const data = bytes(2 * PART + 5)
  const uploading = b.another().upload('key', () => [data], { id: 'id' })
  await lost.hit()
  b.oss.inject({ operation: COMPLETE, do: 'drop-upload', times: 1 })
  await uploading
  t.equal(b.count('InitiateMultipartUpload'), 2)
  await published(t, b, data)
})

// --- a write-only policy --------------------------------------------------------------------------

for (const data of [bytes(2 * PART + 5), bytes(1000)]) {
  const operation = data.length > PART ? COMPLETE : 'PutObject'
  for (const refused of [
    ['HeadObject'],
    ['HeadObject', 'ListParts', 'AbortMultipartUpload'],
  ] as const) {
    t.test(
      `${operation} without a reply is published by force where OSS refuses ${refused.join(', ')}`,
      async t => {
        const b = await bench(t)
        refuse(b, ...refused)
        b.oss.inject({ operation, do: 'reset', at: 'done', times: 1 })
        const error = await failing(b, data)
        t.match(error, { code: 'ERR_SPOOL_DENIED', resumable: true })
        t.match(error.hint, "spool.resume('id', { force: true })")
        for (let run = 0; run < 2; run++) {
          const again = await b
            .another()
            .resume('id')
            .then(
              () => Promise.reject(new Error('The upload did not fail')),
              (reason: unknown) => reason as SpoolError, // whose code is asserted below
            )
          t.match(again, { code: 'ERR_SPOOL_DENIED', resumable: true })
          t.notMatch(again.message, /Nothing was published/)
        }
        t.match(await b.another().resume('id', { force: true }), { size: data.length })
        b.oss.clearFaults()
        await b.another().prune({ olderThan: 0 })
        await published(t, b, data)
      },
    )
  }
}

t.test(
  'where HEAD is refused, an upload id that still exists shows that nothing was published',
  async t => {
    const b = await bench(t)
    refuse(b, 'HeadObject')
    const data = bytes(2 * PART + 5)
    b.oss.inject({ operation: COMPLETE, do: 'reset', at: 'start', times: 1 })
    await b.spool.upload('key', () => [data], { id: 'id' })
    await published(t, b, data)
  },
)

t.test(
  'an upload id that was removed by a lifecycle rule is replaced although HEAD is refused',
  async t => {
    const b = await bench(t)
    const data = bytes(2 * PART + 5)
    b.oss.inject({ operation: 'UploadPart', partNumber: 2, ...DENIED, times: 1 })
    const { uploadId } = await failing(b, data)
    await new OSS(b.oss.clientOptions(BUCKET)).abortMultipartUpload('key', uploadId ?? '')
    refuse(b, 'HeadObject')
    t.match(await b.another().resume('id'), { size: data.length })
    await published(t, b, data)
  },
)

// --- a Complete that is never answered ------------------------------------------------------------

t.test('a Complete whose answer is lost on a silent connection is found by HEAD', async t => {
  const b = await bench(t, { spool: { timeout: 300 } })
  const data = bytes(2 * PART + 5)
  b.oss.inject({ operation: COMPLETE, do: 'hang', at: 'done' })
  const result = await b.spool.upload('key', () => [data], { id: 'id' })
  t.ok(result.elapsed < 10_000, `${result.elapsed} ms`)
  t.equal(b.oss.requests.filter(({ operation }) => operation === COMPLETE).length, 1)
  await published(t, b, data)
})

t.test('a Complete that is slow and not executed yet is waited for', async t => {
  const b = await bench(t, { spool: { timeout: 200 } })
  const data = bytes(2 * PART + 5)
  b.oss.inject({ operation: COMPLETE, do: 'delay', ms: 1000, at: 'received' })
  await b.spool.upload('key', () => [data], { id: 'id' })
  t.ok(b.oss.requests.filter(({ operation }) => operation === 'HeadObject').length >= 2)
  t.equal(b.oss.requests.filter(({ operation }) => operation === COMPLETE).length, 1)
  await published(t, b, data)
})

t.test('an aborted upload does not wait for its Complete', async t => {
  const b = await bench(t, { spool: { timeout: 200 } })
  b.oss.inject({ operation: COMPLETE, do: 'hang', at: 'start' })
  const abort = new AbortController()
  const upload = b.spool.upload('key', () => [bytes(2 * PART)], { id: 'id', signal: abort.signal })
  while (!b.oss.requests.some(({ operation }) => operation === COMPLETE)) await sleep(5)
  abort.abort()
  await t.rejects(upload, { code: 'ERR_SPOOL_ABORTED', resumable: true })
})

// --- replies that are not OSS's -------------------------------------------------------------------

for (const { operation, data } of [
  { operation: COMPLETE, data: bytes(2 * PART + 5) },
  { operation: 'PutObject', data: bytes(1000) },
] as const) {
  t.test(
    `${operation}: a reply without CRC64 is looked up, and retried if the object is not there`,
    async t => {
      const b = await bench(t)
      b.oss.inject({ operation, do: 'answer', status: 200, headers: {}, body: '', times: 1 })
      await b.spool.upload('key', () => [data], { id: 'id' })
      await published(t, b, data)
    },
  )
}
