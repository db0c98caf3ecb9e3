/** `upload()` as a retryable step, `resume()`, `abort()`, and sources that are read again. */
import { EventEmitter } from 'node:events'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { PassThrough, Readable } from 'node:stream'
import { ReadableStream } from 'node:stream/web'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { Spool, type SourceStream } from '../src/index.js'
import { dateAhead } from './support/clock-ahead.js'
import { closed } from './support/closed.js'
import { bench, bytes, failingAfter, sha256, streamOf, type Bench } from './support/oss.js'

const PART = 102_400

const refuse = (
  { oss }: Bench,
  operation: 'CompleteMultipartUpload' | 'PutObject' = 'CompleteMultipartUpload',
) => oss.inject({ operation, do: 'answer', status: 403, code: 'AccessDenied', times: 'always' })

t.test('upload() accepts every kind of readable as a source', async t => {
  const { spool, get } = await bench(t)
  const data = bytes(2 * PART + 9)
  const sources = {
    stream: () => streamOf(data),
    iterable: async function* () {
      yield data.subarray(0, 100)
      yield data.subarray(100)
    },
    array: () => [data.subarray(0, 7), data.subarray(7)],
    web: () => ReadableStream.from([data.subarray(0, 50), data.subarray(50)]),
    promise: async () => Readable.from([data]),
  }
  for (const [key, source] of Object.entries(sources)) {
    const result = await spool.upload(key, source)
    t.match(result, { size: data.length, sourceRead: true, resumed: false, sent: data.length })
    t.same(await get(key), data, key)
  }
  for (const nothing of [() => undefined, () => 5, () => ({})]) {
    await t.rejects(spool.upload('none', nothing as never), { code: 'ERR_SPOOL_SOURCE_FAILED' })
  }
  await t.rejects(spool.upload('none', 'text' as never), TypeError)
})

t.test(
  'upload() closes a source that becomes available only after the upload was aborted',
  async t => {
    const { spool } = await bench(t)
    const closed: string[] = []
    const failsToClose = (name: string): Readable =>
      new Readable({
        read() {},
        destroy: (_error, callback) => {
          closed.push(name)
          callback(new Error('close failed'))
        },
      })
    const old = Object.assign(new EventEmitter(), {
      pipe: () => {},
      read: () => null,
      destroy() {
        closed.push('old')
        old.emit('error', new Error('close failed'))
      },
    })
    const late = {
      stream: () => failsToClose('stream'),
      // Like streams of packages that bundle their own implementation. Not an instance of Node's class.
      old: () => old as unknown as NodeJS.ReadableStream,
      iterable: () => ({
        [Symbol.asyncIterator]: () => ({
          next: () => Promise.resolve({ done: true as const, value: undefined }),
          return: () => {
            closed.push('iterable')
            return Promise.reject(new Error('close failed'))
          },
        }),
      }),
    }
    for (const [key, source] of Object.entries(late)) {
      const stop = new AbortController()
      let answer = (): void => {}
      const asked = new Promise<void>(resolve => (answer = resolve))
      let call = (): void => {}
      const called = new Promise<void>(resolve => (call = resolve))
      const slow = async (): Promise<SourceStream> => {
        call()
        await asked
        return source()
      }
      const uploading = spool.upload(key, slow, { signal: stop.signal })
      await called
      stop.abort(new Error('changed our mind'))
      await t.rejects(uploading, {
        code: 'ERR_SPOOL_ABORTED',
        cause: { message: 'changed our mind' },
      })
      const before = closed.length
      answer()
      while (closed.length === before) await sleep(5)
    }
    await sleep(20) // errors while closing are ignored
    t.same(closed, ['stream', 'old', 'iterable'])
  },
)

t.test('upload() rejects a stream that was already read and publishes nothing', async t => {
  const { spool, get } = await bench(t)
  const data = bytes(1000)
  const stream = streamOf(data)
  await t.rejects(
    spool.upload('again', () => stream, { expect: { bytes: 1 } }),
    { code: 'ERR_SPOOL_EXPECTATION' },
  )
  await t.rejects(
    spool.upload('again', () => stream),
    { code: 'ERR_SPOOL_SOURCE_FAILED' },
  )
  t.equal(await get('again'), undefined)
})

t.test("upload() reports another upload's error from its source as the cause", async t => {
  const b = await bench(t)
  refuse(b, 'PutObject')
  const error = await b.spool
    .upload('outer', async function* () {
      yield 'head'
      await b.spool.upload('inner', () => ['bytes'])
    })
    .catch((reason: unknown) => reason)
  t.match(error, {
    code: 'ERR_SPOOL_SOURCE_FAILED',
    resumable: false,
    id: /^outer-/,
    cause: { code: 'ERR_SPOOL_DENIED', resumable: true, id: /^inner-/ },
  })
})

t.test('uploads() shows the acknowledged parts of a failed upload immediately', async t => {
  const b = await bench(t)
  const data = bytes(3 * PART)
  await t.rejects(
    b.spool.upload('cut', async function* () {
      yield data
      while (b.count('UploadPart') < 3) await sleep(5)
      await sleep(50)
      throw new Error('cut')
    }),
    { code: 'ERR_SPOOL_SOURCE_FAILED' },
  )
  t.match(await b.spool.uploads(), [{ phase: 'spooling', parts: 3, uploaded: 3 * PART }])
})

t.test('upload() accepts keys with characters that XML cannot represent', async t => {
  const b = await bench(t)
  const data = bytes(3 * PART)
  for (const key of ['a\u0000b', 'a\u0001b', 'a\u000bb', 'a\u001fb', 'a\tb', 'a\u007fb']) {
    await b.spool.upload(key, () => streamOf(data))
    t.same(await b.get(key), data, JSON.stringify(key))
  }
  t.same(await readdir(b.dir), [])
})

t.test('invalid arguments throw ERR_INVALID_ARG_TYPE', async t => {
  const { spool, oss, dir } = await bench(t)
  const wrong = { code: 'ERR_INVALID_ARG_TYPE' }
  for (const value of [null, 5, 'x'] as never[]) {
    await t.rejects(
      spool.upload('k', () => [], value),
      wrong,
    )
    t.throws(() => spool.createWriteStream('k', value), wrong)
    await t.rejects(spool.resume('id', value), wrong)
    await t.rejects(spool.prune(value), wrong)
    await t.rejects(spool.uploads(value), wrong)
    t.throws(() => new Spool(value), wrong)
    t.throws(() => new Spool({ dir, client: value }), wrong)
  }
  t.throws(() => new Spool({ dir } as never), wrong)
  t.ok(new Spool({ dir, client: oss.clientOptions('bucket') }))
})

t.test('upload() finishes a sealed upload without calling its source', async t => {
  const b = await bench(t)
  const data = bytes(4 * PART)
  const refusal = refuse(b)
  await t.rejects(
    b.spool.upload('step', () => streamOf(data)),
    { code: 'ERR_SPOOL_DENIED', resumable: true },
  )
  const [sealed] = await b.spool.uploads()
  await t.rejects(
    b.spool.upload('step', () => t.fail('called') as never, { expect: { bytes: 1 } }),
    {
      code: 'ERR_SPOOL_EXPECTATION',
    },
  )
  await t.rejects(
    b.spool.upload('step', () => t.fail('called') as never, { expect: { sha256: '0'.repeat(64) } }),
    { code: 'ERR_SPOOL_EXPECTATION' },
  )
  t.match(
    await b.spool.uploads(),
    [{ phase: 'sealed', spooled: data.length, uploaded: data.length, parts: 4 }],
    'a failed expectation changes nothing, and the acknowledged parts are shown',
  )
  refusal.remove()
  const result = await b.another().upload('step', () => t.fail('called') as never, {
    expect: { sha256: sha256(data) },
  })
  t.match(result, { resumed: true, sourceRead: false, sent: 0, skipped: data.length })
  t.ok(Date.parse(result.sealedAt) >= Date.parse(sealed!.createdAt))
  t.same(await b.get('step'), data)
  t.same(await b.spool.uploads(), [])
})

t.test('upload() replaces a sealed upload older than maxAge', async t => {
  const b = await bench(t)
  const refusal = refuse(b)
  await t.rejects(
    b.spool.upload('old', () => streamOf(bytes(3 * PART))),
    { code: 'ERR_SPOOL_DENIED' },
  )
  refusal.remove()
  await new Promise(resolve => setTimeout(resolve, 20))
  const fresh = bytes(3 * PART)
  const result = await b.spool.upload('old', () => streamOf(fresh), { maxAge: 10 })
  t.match(result, { resumed: false, sourceRead: true })
  t.same(await b.get('old'), fresh)
})

t.test('upload() replaces a sealed upload that is dated further ahead than maxAge', async t => {
  const b = await bench(t)
  const refusal = refuse(b)
  const id = 'ahead'
  await t.rejects(
    b.spool.upload('key', () => streamOf(bytes(3 * PART)), { id }),
    { code: 'ERR_SPOOL_DENIED' },
  )
  refusal.remove()
  await dateAhead(b.dir, id, 3_600_000)
  const fresh = bytes(3 * PART)
  const result = await b.another().upload('key', () => streamOf(fresh), { id, maxAge: 60_000 })
  t.match(result, { resumed: false, sourceRead: true })
  t.same(await b.get('key'), fresh)
})

t.test('upload() sends only the changed and missing parts of a source it reads again', async t => {
  const b = await bench(t)
  const data = bytes(6 * PART)
  await t.rejects(
    b.spool.upload('again', () =>
      failingAfter(
        data.subarray(0, 4 * PART + 50),
        new Error('gone'),
        () => b.count('UploadPart') === 4,
      ),
    ),
    {
      code: 'ERR_SPOOL_SOURCE_FAILED',
    },
  )
  const before = b.count('UploadPart')
  const changed = Buffer.from(data)
  changed[PART + 1]! ^= 1
  const result = await b.another().upload('again', ({ offset }) => {
    t.equal(offset, 0)
    return streamOf(changed)
  })
  t.equal(result.sent, (6 - before + 1) * PART, 'part 2 and the missing parts')
  t.equal(result.skipped, (before - 1) * PART)
  t.equal(b.count('InitiateMultipartUpload'), 1, 'the same upload id')
  t.same(await b.get('again'), changed)
})

t.test(
  'upload() initiates a new upload id and aborts the old one if object options changed',
  async t => {
    const b = await bench(t)
    const data = bytes(4 * PART)
    await t.rejects(
      b.spool.upload('digest', () =>
        failingAfter(
          data.subarray(0, 3 * PART + 50),
          new Error('gone'),
          () => b.count('UploadPart') === 3,
        ),
      ),
      {
        code: 'ERR_SPOOL_SOURCE_FAILED',
      },
    )
    const result = await b.spool.upload('digest', () => streamOf(data), { meta: { a: 'b' } })
    t.equal(result.sent, data.length)
    t.equal(b.count('InitiateMultipartUpload'), 2)
    t.ok(b.count('AbortMultipartUpload') >= 1)
    t.same(await b.get('digest'), data)
  },
)

t.test('upload() with replay: offset continues after the verified bytes', async t => {
  const b = await bench(t, { spool: { replay: 'offset' } })
  const data = bytes(6 * PART + 3)
  await t.rejects(
    b.spool.upload('offset', () =>
      failingAfter(
        data.subarray(0, 4 * PART + 50),
        new Error('gone'),
        () => b.count('UploadPart') === 4,
      ),
    ),
    {
      code: 'ERR_SPOOL_SOURCE_FAILED',
    },
  )
  const [status] = await b.spool.uploads()
  const directory = join(b.dir, status!.id)
  const name = (await readdir(directory)).find(file => file.startsWith('spool-'))!
  t.ok(name, 'the temp file is kept')
  const kept = await readFile(join(directory, name))
  kept[2 * PART + 1]! ^= 1
  await writeFile(join(directory, name), kept)
  const result = await b.another().upload('offset', ({ offset }) => {
    t.equal(offset, 2 * PART, 'truncated before the first damaged part')
    return streamOf(data.subarray(offset))
  })
  t.equal(result.size, data.length)
  t.same(await b.get('offset'), data)
  t.same(await readdir(b.dir), [])
})

t.test(
  'a receipt answers upload() without source or network and is replaced by createWriteStream()',
  async t => {
    const b = await bench(t)
    const data = bytes(PART * 2)
    const first = await b.spool.upload('once', () => streamOf(data), { once: true, id: 'job-1' })
    t.equal(first.receipt, undefined)
    const requests = b.oss.requests.length
    const again = await b.another().upload('once', () => t.fail('called') as never, { id: 'job-1' })
    t.match(again, {
      receipt: true,
      size: data.length,
      crc64: first.crc64,
      etag: first.etag,
      sourceRead: false,
    })
    t.equal(b.oss.requests.length, requests)
    t.same(await b.spool.uploads(), [])
    t.match(await b.spool.uploads({ receipts: true }), [{ id: 'job-1', phase: 'receipt' }])
    t.same((await readdir(join(b.dir, 'job-1'))).toSorted(), ['checkpoint.json', 'lock'])
    const sink = b.spool.createWriteStream('once', { id: 'job-1' })
    await pipeline(streamOf(bytes(5)), sink)
    t.same(await readdir(b.dir), [])
  },
)

t.test('upload() with once leaves a receipt of an upload that was sealed without it', async t => {
  const b = await bench(t)
  const refusal = refuse(b)
  await t.rejects(b.spool.upload('step', () => streamOf(bytes(4 * PART))))
  refusal.remove()
  const never = (): never => t.fail('called') as never
  t.match(await b.spool.upload('step', never, { once: true }), { resumed: true })
  t.match(await b.spool.upload('step', never), { receipt: true })
})

t.test('resume() finishes a sealed upload whose unsealed successor failed', async t => {
  const b = await bench(t)
  const old = bytes(4 * PART)
  const refusal = refuse(b)
  const first = b.spool.createWriteStream('super')
  await t.rejects(pipeline(streamOf(old), first), { code: 'ERR_SPOOL_DENIED' })
  refusal.remove()
  const changed = Buffer.from(old)
  changed[2 * PART]! ^= 1
  const second = b.spool.createWriteStream('super')
  await t.rejects(
    pipeline(failingAfter(changed.subarray(0, 3 * PART + 9), new Error('dies')), second),
    { message: 'dies' },
  )
  await closed(second)
  t.match(await b.spool.uploads(), [{ phase: 'sealed', size: old.length }])
  t.match(await b.another().resume(first.id), { size: old.length })
  t.same(await b.get('super'), old, 'the complete predecessor')
  t.match(await b.spool.uploads(), [{ phase: 'spooling' }], 'the record of its successor is kept')
  await b.spool.upload('super', () => streamOf(changed))
  t.same(await b.get('super'), changed)
  t.same(await readdir(b.dir), [])
})

t.test('a sealed successor replaces its predecessor without sending equal parts again', async t => {
  const b = await bench(t)
  const old = bytes(4 * PART)
  const refusal = refuse(b)
  await t.rejects(pipeline(streamOf(old), b.spool.createWriteStream('next')), {
    code: 'ERR_SPOOL_DENIED',
  })
  refusal.remove()
  const longer = Buffer.concat([old, bytes(PART)])
  const sink = b.spool.createWriteStream('next')
  await pipeline(streamOf(longer), sink)
  t.match(await sink.result, { sent: PART, skipped: old.length })
  t.same(await b.get('next'), longer)
  t.same(await readdir(b.dir), [])
  const { uploads } = await uploadsOf(b)
  t.equal(uploads.length, 0, 'no upload id is left')
})

t.test(
  'a short stream after an unfinished long one uses PutObject and aborts the old upload id',
  async t => {
    const b = await bench(t)
    await t.rejects(
      b.spool.upload('short', () =>
        failingAfter(bytes(3 * PART), new Error('x'), () => b.count('UploadPart') > 0),
      ),
      {
        code: 'ERR_SPOOL_SOURCE_FAILED',
      },
    )
    const data = bytes(10)
    t.match(await b.spool.upload('short', () => streamOf(data)), { parts: 1, sent: 10 })
    t.equal(b.count('PutObject'), 1)
    t.equal((await uploadsOf(b)).uploads.length, 0)
    t.same(await b.get('short'), data)
  },
)

t.test('abort() removes the upload from disk and from OSS', async t => {
  const b = await bench(t)
  const refusal = refuse(b)
  const sink = b.spool.createWriteStream('given/up')
  await t.rejects(pipeline(streamOf(bytes(3 * PART)), sink), { code: 'ERR_SPOOL_DENIED' })
  refusal.remove()
  t.equal((await uploadsOf(b)).uploads.length, 1)
  await b.another().abort(sink.id)
  t.equal((await uploadsOf(b)).uploads.length, 0)
  t.same(await readdir(b.dir), [])
  await t.rejects(b.spool.abort(sink.id), { code: 'ERR_SPOOL_NOT_FOUND' })
  await t.rejects(b.spool.resume(sink.id), { code: 'ERR_SPOOL_NOT_FOUND' })
  await t.rejects(b.spool.resume('../etc'), TypeError)
})

t.test('upload() aborts the signal of the source when its bytes are no longer needed', async t => {
  const b = await bench(t, { spool: { overwrite: false } })
  await b.spool.upload('taken', () => streamOf(bytes(PART * 2)))
  let fired = false
  const source = new PassThrough()
  const feed = setInterval(() => source.write(bytes(1000)), 5)
  t.teardown(() => clearInterval(feed))
  const error = await b.spool
    .upload('taken', ({ signal }) => {
      signal.addEventListener('abort', () => (fired = true))
      return source
    })
    .catch((e: unknown) => e)
  t.match(error, { code: 'ERR_SPOOL_OBJECT_EXISTS', resumable: false }, 'it fails immediately')
  t.ok(fired)
})

async function uploadsOf(b: Bench) {
  const { default: OSS } = await import('ali-oss')
  const client = new OSS(b.oss.clientOptions('test-bucket'))
  return client.listUploads({ 'max-uploads': 100 }, {})
}
