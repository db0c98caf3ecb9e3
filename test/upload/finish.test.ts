/** Detecting the outcome of Complete and PutObject (rule 8) when their reply is ambiguous. */
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { appendFile, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import OSS from 'ali-oss'
import t, { type Test } from 'tap'
import type { RequestRecord } from '../../src/emulator/index.js'
import { bench, BUCKET, bytes, streamOf, type Bench } from '../support/oss.js'

const PART = 102_400
const DENIED = { do: 'answer', status: 403, code: 'AccessDenied' } as const
const cases = [
  { operation: 'CompleteMultipartUpload', size: 3 * PART },
  { operation: 'PutObject', size: 1000 },
] as const

const clientOf = ({ oss }: Bench) => new OSS(oss.clientOptions(BUCKET))

const isAnsweredHead = ({ operation, status }: RequestRecord) =>
  operation === 'HeadObject' && status !== undefined

/** Expects that someone else's object is kept, which is written now, when the upload id is gone. */
async function expectTheirsKept(test: Test, b: Bench, key: string, id: string): Promise<void> {
  test.match(await b.spool.uploads(), [{ id, phase: 'completing', resumable: true }])
  const theirs = bytes(77)
  const client = clientOf(b)
  await client.put(key, theirs)
  for (const { uploadId } of (await client.listUploads({ 'max-uploads': 10 }, {})).uploads) {
    await client.abortMultipartUpload(key, uploadId)
  }
  await test.rejects(b.another().resume(id), { code: 'ERR_SPOOL_OBJECT_EXISTS' })
  test.same(await b.get(key), theirs)
}

/**
 * Uploads until `operation` is pending, then destroys the sink so that it never takes effect. Resolves with
 * the id.
 */
async function leftAt(
  operation: (typeof cases)[number]['operation'],
  b: Bench,
  key: string,
  data: Buffer,
): Promise<string> {
  const held = b.oss.inject({ operation, do: 'hang', at: 'start' })
  const sink = b.spool.createWriteStream(key)
  const done = pipeline(streamOf(data), sink)
  await held.hit()
  sink.destroy()
  await done.catch(() => undefined)
  held.remove()
  await sink.result.catch(() => undefined)
  return sink.id
}

t.test('an empty object that a later stream found on OSS has one part and its version', async t => {
  const b = await bench(t)
  // The typings lack the calls about versions.
  await Object(clientOf(b)).putBucketVersioning(BUCKET, 'Enabled')
  b.oss.inject({ operation: 'PutObject', do: 'reset', at: 'done' })
  const lost = b.oss.inject({ operation: 'HeadObject', do: 'reset', times: 'always' })
  await t.rejects(b.spool.upload('empty', () => streamOf(Buffer.alloc(0)), { id: 'id' }))
  lost.remove()
  const inPlace = join(b.dir, 'missing')
  await t.rejects(
    b.spool.createWriteStream('empty', { id: 'id', inPlace }).on('error', () => {}).result,
  )
  const versionId = String
  t.match(await b.another().resume('id'), { size: 0, parts: 1, versionId, receipt: true })
})

t.test('resume() detects a late Complete of a killed process between its checks', async t => {
  const b = await bench(t)
  const data = bytes(3 * PART)
  const id = await leftAt('CompleteMultipartUpload', b, 'late', data)

  // HEAD found no object. The Complete request of the first process arrives only now.
  const listing = b.oss.inject({ operation: 'ListParts', do: 'hang', at: 'start' })
  const resumed = b.another().resume(id)
  await listing.hit()
  const client = clientOf(b)
  const [upload] = (await client.listUploads({ 'max-uploads': 10 }, {})).uploads
  const parts = [0, 1, 2].map(i => {
    const part = data.subarray(i * PART, (i + 1) * PART)
    return { number: i + 1, etag: `"${createHash('md5').update(part).digest('hex')}"` }
  })
  await client.completeMultipartUpload('late', upload?.uploadId ?? '', parts)
  listing.remove()
  t.match(await resumed, { sent: 0, skipped: data.length }, 'no part is sent twice')
  t.equal(b.count('InitiateMultipartUpload'), 1)
  t.same(await b.get('late'), data)
  t.same(await readdir(b.dir), [])
})

for (const { operation, size } of cases) {
  t.test(`${operation}: HEAD detects success after a lost reply`, async t => {
    const b = await bench(t)
    b.oss.inject({ operation, do: 'reset', at: 'done' })
    const data = bytes(size)
    const sink = b.spool.createWriteStream('lost')
    await pipeline(streamOf(data), sink)
    t.match(await sink.result, { size, sent: size })
    t.equal(
      b.oss.requests.filter(r => r.operation === operation).length,
      1,
      'the request is not repeated',
    )
    t.equal(b.count('HeadObject'), 1)
    t.same(await b.get('lost'), data)
  })

  t.test(
    `${operation}: HEAD detects success after a truncated reply or one without CRC64`,
    async t => {
      const b = await bench(t)
      const data = bytes(size)
      if (operation !== 'PutObject') b.oss.inject({ operation, do: 'truncate' })
      else b.oss.inject({ operation, do: 'alter', headers: { 'x-oss-hash-crc64ecma': null } })
      await pipeline(streamOf(data), b.spool.createWriteStream('cut'))
      t.equal(b.count('HeadObject'), 1)
      t.same(await b.get('cut'), data)
    },
  )

  t.test(`${operation}: a request that never took effect is sent again`, async t => {
    const b = await bench(t)
    b.oss.inject({ operation, do: 'reset', at: 'received', times: 2 })
    const data = bytes(size)
    await pipeline(streamOf(data), b.spool.createWriteStream('never'))
    t.same(await b.get('never'), data)
  })

  t.test(`${operation}: a denied HEAD keeps the upload resumable`, async t => {
    const b = await bench(t)
    b.oss.inject({ operation, do: 'reset', at: 'done' })
    const refused = b.oss.inject({
      operation: 'HeadObject',
      do: 'answer',
      status: 403,
      code: 'AccessDenied',
      times: 'always',
    })
    const data = bytes(size)
    const sink = b.spool.createWriteStream('unknown')
    await t.rejects(pipeline(streamOf(data), sink), { code: 'ERR_SPOOL_DENIED', resumable: true })
    await sink.result.catch(() => undefined)
    t.match(await b.spool.uploads(), [{ phase: 'completing' }])
    refused.remove()
    t.match(await b.another().resume(sink.id), { sent: 0, skipped: size, resumed: true })
    t.same(await b.get('unknown'), data)
    t.same(await readdir(b.dir), [])
  })

  t.test(
    `${operation}: a wrong CRC64 fails with ERR_SPOOL_VERIFY, and resume() publishes the object`,
    async t => {
      const b = await bench(t)
      b.oss.inject({ operation, do: 'alter', headers: { 'x-oss-hash-crc64ecma': '42' } })
      const data = bytes(size)
      const sink = b.spool.createWriteStream('verify')
      await t.rejects(pipeline(streamOf(data), sink), { code: 'ERR_SPOOL_VERIFY', resumable: true })
      await sink.result.catch(() => undefined)
      t.match(await b.spool.uploads(), [{ phase: 'sealed' }])
      t.match(await b.another().resume(sink.id), { size })
      t.same(await b.get('verify'), data)
    },
  )

  t.test(`${operation}: resume() keeps someone else's object unless forced`, async t => {
    const b = await bench(t)
    const data = bytes(size)
    const id = await leftAt(operation, b, 'contested', data)
    const theirs = bytes(77)
    const client = clientOf(b)
    await client.put('contested', theirs)
    if (operation === 'CompleteMultipartUpload') {
      for (const { uploadId } of (await client.listUploads({ 'max-uploads': 10 }, {})).uploads) {
        await client.abortMultipartUpload('contested', uploadId)
      }
    }
    await t.rejects(b.another().resume(id), {
      code: 'ERR_SPOOL_OBJECT_EXISTS',
      resumable: false,
    })
    t.same(await b.get('contested'), theirs)
    t.match(await b.spool.uploads(), [
      { phase: 'completing', error: { code: 'ERR_SPOOL_OBJECT_EXISTS' } },
    ])
    t.match(await b.another().resume(id, { force: true }), { size })
    t.same(await b.get('contested'), data)
    t.same(await readdir(b.dir), [])
  })

  t.test(`${operation}: an object written after the last attempt of a run is kept`, async t => {
    const b = await bench(t, { spool: { retry: { attempts: 2, minDelay: 1, maxDelay: 1 } } })
    b.oss.inject({ operation, do: 'reset', at: 'received', times: 2 })
    const data = bytes(size)
    const sink = b.spool.createWriteStream('later')
    await t.rejects(pipeline(streamOf(data), sink), { code: 'ERR_SPOOL_UPLOAD_FAILED' })
    await sink.result.catch(() => undefined)
    await expectTheirsKept(t, b, 'later', sink.id)
    t.match(await b.another().resume(sink.id, { force: true }), { size })
    t.same(await b.get('later'), data)
  })

  t.test(`${operation}: an object written after a run was aborted in a pause is kept`, async t => {
    const b = await bench(t, { spool: { retry: { attempts: 2, minDelay: 60_000 } } })
    b.oss.inject({ operation, do: 'reset', at: 'received' })
    const stop = new AbortController()
    const { signal } = stop
    const uploading = b.spool.upload('pause', () => [bytes(size)], { id: 'id', signal })
    const failed = t.rejects(uploading, { code: 'ERR_SPOOL_ABORTED', resumable: true })
    while (!b.oss.requests.some(isAnsweredHead)) await sleep(5)
    await sleep(100) // the pause begins when the reply has arrived
    stop.abort()
    await failed
    await expectTheirsKept(t, b, 'pause', 'id')
  })

  t.test(
    `${operation}: an object written after a run whose first request alone was not answered is kept`,
    async t => {
      const b = await bench(t)
      const lost = b.oss.inject({ operation, do: 'reset', at: 'received' })
      const uploading = b.spool.upload('first', () => [bytes(size)], { id: 'id' })
      const failed = t.rejects(uploading, { code: 'ERR_SPOOL_DENIED', resumable: true })
      await lost.hit()
      b.oss.inject({ operation, ...DENIED })
      await failed
      await expectTheirsKept(t, b, 'first', 'id')
    },
  )

  t.test(`${operation}: a forced run that fails too keeps an object written after it`, async t => {
    const b = await bench(t)
    const id = await leftAt(operation, b, 'forced', bytes(size))
    b.oss.inject({ operation, ...DENIED })
    const forced = b.another().resume(id, { force: true })
    const error = await forced.catch((reason: unknown) => reason)
    t.match(error, { code: 'ERR_SPOOL_DENIED', resumable: true, hint: `spool.resume('${id}')` })
    await expectTheirsKept(t, b, 'forced', id)
  })

  t.test(
    `${operation}: someone else's object with equal bytes is not mistaken for ours`,
    async t => {
      const b = await bench(t)
      const data = bytes(size)
      await clientOf(b).put('same', data)
      b.oss.inject({ operation, do: 'reset', at: 'received' })
      const sink = b.spool.createWriteStream('same')
      await pipeline(streamOf(data), sink).catch(() => undefined)
      const published = b.count(operation) - (operation === 'PutObject' ? 1 : 0)
      const error = await sink.result.then(
        () => undefined,
        (e: unknown) => e,
      )
      // An object written in the second in which we started to complete may be newer, so it counts as theirs.
      if (error === undefined) t.equal(published, 1, 'ours was published')
      else t.match(error, { code: 'ERR_SPOOL_OBJECT_EXISTS' })
    },
  )

  t.test(
    `${operation}: overwrite: false never replaces an object but recognises its own`,
    async t => {
      const b = await bench(t, { spool: { overwrite: false } })
      b.oss.inject({ operation, do: 'reset', at: 'done' })
      const data = bytes(size)
      await pipeline(streamOf(data), b.spool.createWriteStream('first'))
      t.same(await b.get('first'), data, 'our own request with a lost reply counts as success')
      const second = b.spool.createWriteStream('first')
      await t.rejects(pipeline(streamOf(bytes(size)), second), {
        code: 'ERR_SPOOL_OBJECT_EXISTS',
        resumable: false,
      })
      t.same(await b.get('first'), data)
    },
  )
}

t.test(
  'force finishes an upload in place that is published, although its file changed',
  async t => {
    const b = await bench(t)
    const inPlace = `${b.dir}-file`
    t.teardown(() => rm(inPlace, { force: true }))
    await writeFile(inPlace, bytes(1000))
    b.oss.inject({ operation: 'PutObject', do: 'reset', at: 'done' })
    const lost = b.oss.inject({ operation: 'HeadObject', do: 'reset', times: 'always' })
    const uploading = b.spool.upload('key', () => createReadStream(inPlace), { id: 'id', inPlace })
    await t.rejects(uploading, { code: 'ERR_SPOOL_UPLOAD_FAILED', resumable: true })
    lost.remove()
    await appendFile(inPlace, 'more')
    t.match(await b.another().resume('id', { force: true }), { size: 1000, sent: 0 })
  },
)

t.test('upload() in place reads a file that has changed since it was sealed', async t => {
  const inPlace = `${t.testdirName}-file`
  t.teardown(() => rm(inPlace, { force: true }))
  for (const { operation, size } of cases) {
    for (const isRefusedAgain of [false, true]) {
      const b = await bench(t)
      const upload = () =>
        b.another().upload('key', () => createReadStream(inPlace), { id: 'id', inPlace })
      await writeFile(inPlace, bytes(size))
      const refused = b.oss.inject({ operation, ...DENIED, times: 'always' })
      await t.rejects(upload(), { code: 'ERR_SPOOL_DENIED', resumable: true })
      const data = bytes(size)
      await writeFile(inPlace, data)
      if (isRefusedAgain) await t.rejects(upload(), { code: 'ERR_SPOOL_DENIED' })
      refused.remove()
      t.match(await upload(), { size, sourceRead: !isRefusedAgain })
      t.same(await b.get('key'), data)
      t.same(await readdir(b.dir), [])
    }
  }
})

t.test(
  'an upload in place whose file has changed stays sealed, since nothing was sent',
  async t => {
    const b = await bench(t)
    const inPlace = `${b.dir}-file`
    t.teardown(() => rm(inPlace, { force: true }))
    await writeFile(inPlace, bytes(1000))
    b.oss.inject({ operation: 'PutObject', ...DENIED })
    const uploading = b.spool.upload('key', () => createReadStream(inPlace), { id: 'id', inPlace })
    await t.rejects(uploading, { code: 'ERR_SPOOL_DENIED', resumable: true })
    await appendFile(inPlace, 'more')
    await t.rejects(b.another().resume('id'), { code: 'ERR_SPOOL_SOURCE_FAILED', resumable: false })
    t.match(await b.spool.uploads(), [{ phase: 'sealed', resumable: false }])
  },
)

t.test('a lost upload id causes everything to be sent again from the temp file', async t => {
  const b = await bench(t)
  b.oss.inject({ operation: 'UploadPart', partNumber: 4, do: 'drop-upload' })
  const data = bytes(6 * PART)
  const sink = b.spool.createWriteStream('vanished')
  await pipeline(streamOf(data), sink)
  t.same(await b.get('vanished'), data)
  t.equal(b.count('InitiateMultipartUpload'), 2)
  b.oss.inject({ operation: 'CompleteMultipartUpload', do: 'drop-upload' })
  await pipeline(streamOf(data), b.spool.createWriteStream('vanished-late'))
  t.same(await b.get('vanished-late'), data)
})

t.test('repeated loss of the upload id ends in an error, not in an endless loop', async t => {
  const b = await bench(t)
  b.oss.inject({ operation: 'UploadPart', do: 'drop-upload', times: 'always' })
  const sink = b.spool.createWriteStream('loop')
  await t.rejects(pipeline(streamOf(bytes(3 * PART)), sink), {
    code: 'ERR_SPOOL_UPLOAD_FAILED',
    resumable: true,
  })
})

t.test('the error of a part that OSS refuses has its part number', async t => {
  const b = await bench(t)
  const code = 'AccessDenied'
  const refused = { do: 'answer', status: 403, code, times: 'always' } as const
  const refusedPart = b.oss.inject({ ...refused, operation: 'UploadPart', partNumber: 3 })
  const sink = b.spool.createWriteStream('refused')
  const failing = pipeline(streamOf(bytes(5 * PART)), sink)
  await t.rejects(failing, { code: 'ERR_SPOOL_DENIED', part: 3, resumable: true })
  await t.rejects(b.another().resume(sink.id), { code: 'ERR_SPOOL_DENIED', part: 3 })
  refusedPart.remove()
  b.oss.inject({ ...refused, operation: 'CompleteMultipartUpload' })
  const error: unknown = await b
    .another()
    .resume(sink.id)
    .catch((cause: unknown) => cause)
  t.match(error, { code: 'ERR_SPOOL_DENIED' })
  t.notOk(Object.hasOwn(Object(error), 'part'))
})

t.test('a part lost by OSS before Complete is sent again', async t => {
  const b = await bench(t)
  b.oss.inject({ operation: 'CompleteMultipartUpload', do: 'drop-part', parts: [2] })
  const data = bytes(4 * PART)
  const sink = b.spool.createWriteStream('dropped')
  await pipeline(streamOf(data), sink)
  t.match(await sink.result, { sent: 5 * PART })
  t.same(await b.get('dropped'), data)
})

t.test('a temp file damaged after the seal is quarantined and never published', async t => {
  for (const size of [10 * PART, 500]) {
    const b = await bench(t)
    const refused = b.oss.inject({
      do: 'answer',
      status: 503,
      code: 'ServiceUnavailable',
      times: 'always',
    })
    const data = bytes(size)
    const sink = b.spool.createWriteStream('flipped')
    await t.rejects(pipeline(streamOf(data), sink), { code: 'ERR_SPOOL_UPLOAD_FAILED' })
    await sink.result.catch(() => undefined)
    refused.remove()
    const directory = join(b.dir, sink.id)
    const name = (await readdir(directory)).find(file => file.startsWith('spool-'))!
    const kept = await readFile(join(directory, name))
    kept[size - 1]! ^= 1
    await writeFile(join(directory, name), kept)
    await t.rejects(b.another().resume(sink.id), { code: 'ERR_SPOOL_CORRUPT', resumable: false })
    t.equal(await b.get('flipped'), undefined)
    t.equal(b.count('PutObject'), 0)
    t.same(await readdir(b.dir), ['quarantine'])
    const [set] = await readdir(join(b.dir, 'quarantine'))
    t.match(await readdir(join(b.dir, 'quarantine', set!)), ['checkpoint.json', 'lock', name])
    await t.rejects(b.spool.resume(sink.id), { code: 'ERR_SPOOL_NOT_FOUND' })
  }
})

t.test('errors, warnings and checkpoints contain no credentials', async t => {
  const b = await bench(t, { v4: false })
  const { accessKeyId, accessKeySecret } = b.oss.clientOptions(BUCKET)
  const { Spool } = await import('../../src/index.js')
  const spool = new Spool({
    client: { ...b.oss.clientOptions(BUCKET), accessKeySecret: 'wrong-secret-wrong-secret' },
    dir: b.dir,
    partSize: PART,
  })
  const seen: unknown[] = []
  spool.on('warning', warning => seen.push(warning))
  const sink = spool.createWriteStream('denied')
  const error = await pipeline(streamOf(bytes(3 * PART)), sink).catch((e: unknown) => e)
  t.match(error, { code: 'ERR_SPOOL_DENIED', ossCode: 'SignatureDoesNotMatch' })
  await sink.result.catch(() => undefined)
  const { inspect } = await import('node:util')
  const checkpoint = await readFile(join(b.dir, sink.id, 'checkpoint.json'), 'utf8')
  const everything = inspect([error, seen], { depth: 20, showHidden: true }) + checkpoint
  for (const secret of [
    accessKeyId,
    accessKeySecret,
    'wrong-secret',
    'Signature=',
    'authorization',
  ]) {
    t.notOk(everything.includes(secret), secret.slice(0, 4))
  }
})
