/**
 * All common ways to compose streams, each with a source that succeeds, a source that fails, and an OSS that
 * rejects requests. Verifies the promises and the warnings of `docs/composing.md`.
 */
import { once } from 'node:events'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { PassThrough, Readable, Writable } from 'node:stream'
import { finished, pipeline } from 'node:stream/promises'
import { ReadableStream } from 'node:stream/web'
import { createGzip, gunzipSync } from 'node:zlib'
import OSS from 'ali-oss'
import chain from 'stream-chain'
import t, { type Test } from 'tap'
import { runChain } from '../src/chain/index.js'
import { Spool, type SpoolWriteStream } from '../src/index.js'
import { sampled } from './support/long.js'
import { bench, bytes, QUICK, type Bench } from './support/oss.js'

const KEY = 'composed.bin'
const CHUNK = 30_011
const DATA = bytes(350_000) // four parts

/** A source that counts the bytes read from it and optionally fails after its last byte. */
interface Feed {
  taken: number
  bytes(): AsyncGenerator<Buffer>
}

function feed(failure?: Error): Feed {
  const self: Feed = {
    taken: 0,
    async *bytes() {
      for (let i = 0; i < DATA.length; i += CHUNK) {
        const chunk = DATA.subarray(i, i + CHUNK)
        self.taken += chunk.length
        yield chunk
        await new Promise(resolve => setTimeout(resolve, 2)) // sources are not instantaneous
      }
      if (failure !== undefined) throw failure
    },
  }
  return self
}

function asWebStream(source: Feed): ReadableStream<Buffer> {
  const iterator = source.bytes()
  return new ReadableStream<Buffer>({
    async pull(controller) {
      const { done, value } = await iterator.next()
      if (done) controller.close()
      else controller.enqueue(value)
    },
  })
}

const asIs = (chunk: Buffer): Buffer => chunk

/** Pipes `source` into `sink`. Settles like the composition. */
type Composition = (source: Feed, sink: SpoolWriteStream) => Promise<unknown>

const COMPOSITIONS: Readonly<Record<string, Composition>> = {
  'runChain([source, createGzip(), sink])': (source, sink) =>
    runChain([() => source.bytes(), asIs, createGzip(), sink]),
  'runChain([source, chain([f, sink])])': (source, sink) =>
    runChain([Readable.from(source.bytes()), chain([asIs, sink])]),
  'runChain([web stream, f, sink])': (source, sink) => runChain([asWebStream(source), asIs, sink]),
  'pipeline(source, createGzip(), sink)': (source, sink) =>
    pipeline(Readable.from(source.bytes()), createGzip(), sink),
  'pipeline(source, chain([f]), sink)': (source, sink) =>
    pipeline(Readable.from(source.bytes()), chain([asIs]), sink),
  'finished(chain([source, f, sink]))': async (source, sink) => {
    const all = chain([Readable.from(source.bytes()), asIs, sink])
    try {
      await finished(all)
    } finally {
      all.destroy() // a chain reports a failure but destroys no stream
    }
  },
  'pipeline(async iterable, sink)': (source, sink) => pipeline(source.bytes(), sink),
  'pipeline(web stream, sink)': (source, sink) => pipeline(asWebStream(source), sink),
  'webStream.pipeTo(Writable.toWeb(sink))': (source, sink) =>
    asWebStream(source).pipeTo(Writable.toWeb(sink)),
}

/** Sources for `spool.upload()`. */
const SOURCES: Readonly<
  Record<string, (source: Feed) => ReturnType<Parameters<Spool['upload']>[1]>>
> = {
  'a Node stream': source => Readable.from(source.bytes()),
  'a chain': source => chain([Readable.from(source.bytes()), asIs]),
  'an async iterable': source => source.bytes(),
  'a web stream': source => asWebStream(source),
  'a promise of one': async source => Readable.from(source.bytes()),
}

/** A way to make OSS reject requests. `begin` returns a function that ends it. */
interface Refusal {
  readonly code: string
  readonly begin: (oss: Bench['oss']) => { bucket?: string; fix: () => Promise<void> }
}

const answering = (status: number, code: string): Refusal['begin'] => {
  return oss => {
    const fault = oss.inject({ do: 'answer', status, code, times: 'always' })
    return { fix: async () => fault.remove() }
  }
}

const REFUSALS: Readonly<Record<string, Refusal>> = {
  'a missing bucket': {
    code: 'ERR_SPOOL_DENIED',
    begin: oss => ({
      bucket: 'not-made-yet',
      fix: async () => void (await new OSS(oss.clientOptions()).putBucket('not-made-yet')),
    }),
  },
  '403 AccessDenied': { code: 'ERR_SPOOL_DENIED', begin: answering(403, 'AccessDenied') },
  'permanent 503': {
    code: 'ERR_SPOOL_UPLOAD_FAILED',
    begin: answering(503, 'ServiceUnavailable'),
  },
}

const plain = (object: Buffer | undefined): Buffer | undefined =>
  object?.[0] === 0x1f && object[1] === 0x8b ? gunzipSync(object) : object

/** Asserts that a failed source left no object and no bytes, but a record with the error. */
async function nothingButARecord(t: Test, work: Bench): Promise<void> {
  const { spool, dir } = work
  t.equal(await work.get(KEY), undefined, 'no object is published')
  const [left] = await spool.uploads()
  t.match(left, { phase: 'spooling', error: { code: 'ERR_SPOOL_SOURCE_FAILED' } })
  const id = left?.id ?? ''
  t.same((await readdir(join(dir, id))).toSorted(), ['checkpoint.json', 'lock'], 'no temp file')
  await t.rejects(spool.resume(id), { code: 'ERR_SPOOL_UNSEALED', resumable: false })
}

for (const [name, compose] of Object.entries(COMPOSITIONS)) {
  t.test(`${name} resolves when the upload is complete`, async t => {
    const work = await bench(t)
    const sink = work.spool.createWriteStream(KEY)
    await compose(feed(), sink)
    t.ok(sink.writableFinished)
    t.same(plain(await work.get(KEY)), DATA)
    t.same(await work.spool.uploads(), [])
  })

  t.test(`${name} publishes nothing if the source fails`, async t => {
    const work = await bench(t)
    const failure = new Error('the database went away')
    const sink = work.spool.createWriteStream(KEY)
    await t.rejects(compose(feed(failure), sink), failure)
    await t.rejects(sink.result, { code: 'ERR_SPOOL_SOURCE_FAILED', resumable: false })
    await nothingButARecord(t, work)
  })
}

for (const [name, toSource] of Object.entries(SOURCES)) {
  t.test(`upload() of ${name} resolves when the object is on OSS`, async t => {
    const work = await bench(t)
    const result = await work.spool.upload(KEY, () => toSource(feed()))
    t.match(result, { size: DATA.length, sourceRead: true, resumed: false })
    t.same(await work.get(KEY), DATA)
  })

  t.test(`upload() of ${name} that fails publishes nothing and rejects with the cause`, async t => {
    const work = await bench(t)
    const failure = new Error('the database went away')
    const upload = work.spool.upload(KEY, () => toSource(feed(failure)))
    const expected = { code: 'ERR_SPOOL_SOURCE_FAILED', resumable: false, cause: failure }
    await t.rejects(upload, expected)
    await nothingButARecord(t, work)
    t.match(await work.spool.upload(KEY, () => toSource(feed())), { size: DATA.length })
    t.same(await work.get(KEY), DATA, 'the next call reads the source again')
  })
}

for (const [trouble, { code, begin }] of Object.entries(REFUSALS)) {
  /** Runs `upload` while OSS rejects requests, then fixes OSS and finishes the upload without the source. */
  const refused = async (t: Test, upload: (spool: Spool, source: Feed) => Promise<unknown>) => {
    const { oss, dir } = await bench(t)
    const { bucket = 'test-bucket', fix } = begin(oss)
    const client = oss.clientOptions(bucket)
    const spool = new Spool({ client, dir, partSize: 102_400, retry: QUICK })
    const source = feed()
    await t.rejects(upload(spool, source), { code, resumable: true })
    t.equal(source.taken, DATA.length, 'the source is read to its end')
    const [left] = await spool.uploads()
    t.match(left, { phase: 'sealed', error: { code } })
    await fix()
    const result = await new Spool({ client, dir }).resume(left?.id ?? '')
    t.match(result, { sourceRead: false, resumed: true })
    const { content } = await new OSS(client).get(KEY)
    t.ok(Buffer.isBuffer(content) && plain(content)?.equals(DATA), 'finished without the source')
  }

  for (const [name, compose] of sampled(t, Object.entries(COMPOSITIONS), 5)) {
    t.test(`resume() finishes ${name} after ${trouble}`, t =>
      refused(t, (spool, source) => compose(source, spool.createWriteStream(KEY))),
    )
  }
  for (const [name, toSource] of sampled(t, Object.entries(SOURCES), 5)) {
    t.test(`resume() finishes upload() of ${name} after ${trouble}`, t =>
      refused(t, (spool, source) => spool.upload(KEY, () => toSource(source))),
    )
  }
}

t.test('pipeline(source, chain([f, sink])) resolves before the upload is complete', async t => {
  const work = await bench(t)
  const held = work.oss.inject({
    do: 'hang',
    operation: 'CompleteMultipartUpload',
    at: 'received',
  })
  const sink = work.spool.createWriteStream(KEY)
  await pipeline(feed().bytes(), chain([asIs, sink]))
  t.notOk(sink.writableFinished, 'the pipeline has resolved, the sink has not finished')
  t.equal(await work.get(KEY), undefined, 'there is no object yet')
  await held.hit()
  held.remove()
  await sink.result
  t.same(await work.get(KEY), DATA)
})

t.test('pipeline(source, chain([f, sink])) resolves although the upload fails', async t => {
  const { oss, spool } = await bench(t)
  oss.inject({ do: 'answer', status: 403, code: 'AccessDenied', times: 'always' })
  const sink = spool.createWriteStream(KEY)
  const composed = chain([asIs, sink])
  const error = once(composed, 'error') // without a listener, it would crash the process
  await pipeline(feed().bytes(), composed)
  t.match(
    await error,
    [{ code: 'ERR_SPOOL_DENIED' }],
    'the error is emitted after the pipeline has resolved',
  )
  await t.rejects(sink.result, { code: 'ERR_SPOOL_DENIED', resumable: true })
})

t.test('source.pipe(sink) leaves the sink open if the source fails', async t => {
  const work = await bench(t)
  const source = new PassThrough()
  const sink = work.spool.createWriteStream(KEY)
  source.on('error', () => {}).pipe(sink)
  source.write(DATA)
  source.destroy(new Error('the database went away'))
  await new Promise<void>(resolve => source.once('close', resolve)) // once() would reject
  t.notOk(sink.destroyed, 'pipe() does not propagate the failure')
  t.notOk(sink.writableEnded)
  sink.destroy()
  await t.rejects(sink.result, { code: 'ERR_SPOOL_SOURCE_FAILED' })
  await nothingButARecord(t, work)
})

t.test('finished(chain([source, f, sink])) alone leaves the sink open after a failure', async t => {
  const work = await bench(t)
  const failure = new Error('the database went away')
  const sink = work.spool.createWriteStream(KEY)
  const all = chain([Readable.from(feed(failure).bytes()), asIs, sink])
  await t.rejects(finished(all), failure)
  t.notOk(sink.destroyed, 'the sink still waits for bytes')
  all.destroy()
  await t.rejects(sink.result, { code: 'ERR_SPOOL_SOURCE_FAILED' })
  await nothingButARecord(t, work)
})
