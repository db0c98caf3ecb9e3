/**
 * Every way in which people compose streams, each with a source that ends well, a source that fails
 * and an OSS that refuses: what `docs/composing.md` promises, and why it warns.
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
import { Spool, type SpoolWriteStream } from '../src/index.js'
import { bench, bytes, QUICK, type Bench } from './support/oss.js'

const KEY = 'composed.bin'
const CHUNK = 30_011
const DATA = bytes(350_000) // four parts

/** A source that counts what was taken from it, and fails after its last byte if it is to. */
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
        await new Promise(resolve => setTimeout(resolve, 2)) // a source takes its time
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

/** Pipes `source` into `sink`; settles as the composition does. */
type Composition = (source: Feed, sink: SpoolWriteStream) => Promise<unknown>

const COMPOSITIONS: Readonly<Record<string, Composition>> = {
  'pipeline(source, createGzip(), sink)': (source, sink) =>
    pipeline(Readable.from(source.bytes()), createGzip(), sink),
  'pipeline(source, chain([f]), sink)': (source, sink) =>
    pipeline(Readable.from(source.bytes()), chain([asIs]), sink),
  'finished(chain([source, f, sink]))': async (source, sink) => {
    const all = chain([Readable.from(source.bytes()), asIs, sink])
    try {
      await finished(all)
    } finally {
      all.destroy() // a chain reports a failure and ends nothing
    }
  },
  'pipeline(async iterable, sink)': (source, sink) => pipeline(source.bytes(), sink),
  'pipeline(web stream, sink)': (source, sink) => pipeline(asWebStream(source), sink),
  'webStream.pipeTo(Writable.toWeb(sink))': (source, sink) =>
    asWebStream(source).pipeTo(Writable.toWeb(sink)),
}

/** What `spool.upload()` is given. */
const SOURCES: Readonly<
  Record<string, (source: Feed) => ReturnType<Parameters<Spool['upload']>[1]>>
> = {
  'a Node stream': source => Readable.from(source.bytes()),
  'a chain': source => chain([Readable.from(source.bytes()), asIs]),
  'an async iterable': source => source.bytes(),
  'a web stream': source => asWebStream(source),
  'a promise of one': async source => Readable.from(source.bytes()),
}

/** An OSS that refuses, and how it is mended. */
interface Refusal {
  readonly code: string
  readonly begin: (oss: Bench['oss']) => { bucket?: string; mend: () => Promise<void> }
}

const answering = (status: number, code: string): Refusal['begin'] => {
  return oss => {
    const fault = oss.inject({ do: 'answer', status, code, times: 'always' })
    return { mend: async () => fault.remove() }
  }
}

const REFUSALS: Readonly<Record<string, Refusal>> = {
  'a missing bucket': {
    code: 'ERR_SPOOL_DENIED',
    begin: oss => ({
      bucket: 'not-made-yet',
      mend: async () => void (await new OSS(oss.clientOptions()).putBucket('not-made-yet')),
    }),
  },
  '403 AccessDenied': { code: 'ERR_SPOOL_DENIED', begin: answering(403, 'AccessDenied') },
  '503 for ever': {
    code: 'ERR_SPOOL_UPLOAD_FAILED',
    begin: answering(503, 'ServiceUnavailable'),
  },
}

const plain = (object: Buffer | undefined): Buffer | undefined =>
  object?.[0] === 0x1f && object[1] === 0x8b ? gunzipSync(object) : object

/** No object, a record that says why, no bytes: what a failed source leaves. */
async function nothingButARecord(t: Test, work: Bench): Promise<void> {
  const { spool, dir } = work
  t.equal(await work.get(KEY), undefined, 'nothing is published')
  const [left] = await spool.uploads()
  t.match(left, { phase: 'spooling', error: { code: 'ERR_SPOOL_SOURCE_FAILED' } })
  const id = left?.id ?? ''
  t.same((await readdir(join(dir, id))).toSorted(), ['checkpoint.json', 'lock'], 'no temp file')
  await t.rejects(spool.resume(id), { code: 'ERR_SPOOL_UNSEALED', resumable: false })
}

for (const [name, compose] of Object.entries(COMPOSITIONS)) {
  t.test(`${name}: its end is the upload's end`, async t => {
    const work = await bench(t)
    const sink = work.spool.createWriteStream(KEY)
    await compose(feed(), sink)
    t.ok(sink.writableFinished)
    t.same(plain(await work.get(KEY)), DATA)
    t.same(await work.spool.uploads(), [])
  })

  t.test(`${name}: a source that fails publishes nothing`, async t => {
    const work = await bench(t)
    const failure = new Error('the database went away')
    const sink = work.spool.createWriteStream(KEY)
    await t.rejects(compose(feed(failure), sink), failure)
    await t.rejects(sink.result, { code: 'ERR_SPOOL_SOURCE_FAILED', resumable: false })
    await nothingButARecord(t, work)
  })
}

for (const [name, toSource] of Object.entries(SOURCES)) {
  t.test(`upload() of ${name}: resolves when OSS has it`, async t => {
    const work = await bench(t)
    const result = await work.spool.upload(KEY, () => toSource(feed()))
    t.match(result, { size: DATA.length, sourceRead: true, resumed: false })
    t.same(await work.get(KEY), DATA)
  })

  t.test(`upload() of ${name} that fails: nothing published, the cause is kept`, async t => {
    const work = await bench(t)
    const failure = new Error('the database went away')
    const upload = work.spool.upload(KEY, () => toSource(feed(failure)))
    const expected = { code: 'ERR_SPOOL_SOURCE_FAILED', resumable: false, cause: failure }
    await t.rejects(upload, expected)
    await nothingButARecord(t, work)
    t.match(await work.spool.upload(KEY, () => toSource(feed())), { size: DATA.length })
    t.same(await work.get(KEY), DATA, 'the next call reads it again')
  })
}

for (const [trouble, { code, begin }] of Object.entries(REFUSALS)) {
  /** Runs `upload` on an OSS that refuses, then mends it and finishes without the source. */
  const refused = async (t: Test, upload: (spool: Spool, source: Feed) => Promise<unknown>) => {
    const { oss, dir } = await bench(t)
    const { bucket = 'test-bucket', mend } = begin(oss)
    const client = oss.clientOptions(bucket)
    const spool = new Spool({ client, dir, partSize: 102_400, retry: QUICK })
    const source = feed()
    await t.rejects(upload(spool, source), { code, resumable: true })
    t.equal(source.taken, DATA.length, 'the source is read to its end')
    const [left] = await spool.uploads()
    t.match(left, { phase: 'sealed', error: { code } })
    await mend()
    const result = await new Spool({ client, dir }).resume(left?.id ?? '')
    t.match(result, { sourceRead: false, resumed: true })
    const { content } = await new OSS(client).get(KEY)
    t.ok(Buffer.isBuffer(content) && plain(content)?.equals(DATA), 'finished without the source')
  }

  for (const [name, compose] of Object.entries(COMPOSITIONS)) {
    t.test(`${name} and ${trouble}: all is kept, resume() finishes`, t =>
      refused(t, (spool, source) => compose(source, spool.createWriteStream(KEY))),
    )
  }
  for (const [name, toSource] of Object.entries(SOURCES)) {
    t.test(`upload() of ${name} and ${trouble}: all is kept, resume() finishes`, t =>
      refused(t, (spool, source) => spool.upload(KEY, () => toSource(source))),
    )
  }
}

t.test(
  'never pipeline(source, chain([f, sink])): it resolves before the upload is done',
  async t => {
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
  },
)

t.test(
  'never pipeline(source, chain([f, sink])): it resolves although the upload fails',
  async t => {
    const { oss, spool } = await bench(t)
    oss.inject({ do: 'answer', status: 403, code: 'AccessDenied', times: 'always' })
    const sink = spool.createWriteStream(KEY)
    const composed = chain([asIs, sink])
    const error = once(composed, 'error') // unheard, it would end the process
    await pipeline(feed().bytes(), composed)
    t.match(await error, [{ code: 'ERR_SPOOL_DENIED' }], 'it comes when nobody awaits it any more')
    await t.rejects(sink.result, { code: 'ERR_SPOOL_DENIED', resumable: true })
  },
)

t.test(
  'source.pipe(sink): a source that fails leaves the sink open until it is destroyed',
  async t => {
    const work = await bench(t)
    const source = new PassThrough()
    const sink = work.spool.createWriteStream(KEY)
    source.on('error', () => {}).pipe(sink)
    source.write(DATA)
    source.destroy(new Error('the database went away'))
    await new Promise<void>(resolve => source.once('close', resolve)) // once() would reject
    t.notOk(sink.destroyed, 'pipe() hands no failure on')
    t.notOk(sink.writableEnded)
    sink.destroy()
    await t.rejects(sink.result, { code: 'ERR_SPOOL_SOURCE_FAILED' })
    await nothingButARecord(t, work)
  },
)

t.test(
  'finished(chain([source, f, sink])) alone: after a failure the sink is still open',
  async t => {
    const work = await bench(t)
    const failure = new Error('the database went away')
    const sink = work.spool.createWriteStream(KEY)
    const all = chain([Readable.from(feed(failure).bytes()), asIs, sink])
    await t.rejects(finished(all), failure)
    t.notOk(sink.destroyed, 'it waits for bytes that never come')
    all.destroy()
    await t.rejects(sink.result, { code: 'ERR_SPOOL_SOURCE_FAILED' })
    await nothingButARecord(t, work)
  },
)
