/** Sources of `upload()` that lost bytes before: refused, so that no object is replaced by a part of one. */
import { EventEmitter } from 'node:events'
import { readdir } from 'node:fs/promises'
import { Duplex, PassThrough, Readable, type DuplexOptions } from 'node:stream'
import { ReadableStream } from 'node:stream/web'
import { chain } from 'stream-chain'
import t, { type Test } from 'tap'
import type { SourceStream } from '../../src/index.js'
import { bench, bytes, streamOf, type Bench } from '../support/oss.js'

const OLD = Buffer.from('the content of yesterday')
const REFUSED = { code: 'ERR_SPOOL_SOURCE_FAILED', resumable: false }

/** Returns a chunk at a time, so that there is something left to lose. */
const twoChunks = (): Readable => streamOf(bytes(200), 100)

async function readSome(stream: Readable): Promise<Readable> {
  await new Promise(resolve => stream.once('readable', resolve))
  stream.read(1)
  return stream
}

const webStream = (): ReadableStream<Uint8Array> => ReadableStream.from([bytes(100), bytes(100)])

/** Sources whose stream or iterator cannot yield all of its bytes any more. */
const used: Record<string, () => SourceStream | Promise<SourceStream>> = {
  'a stream that was read to its end': async () => {
    const stream = twoChunks()
    await stream.toArray()
    return stream
  },
  'a stream that was read from': () => readSome(twoChunks()),
  'a stream that got back what was read': async () => {
    const stream = await readSome(twoChunks())
    stream.unshift(bytes(1))
    return stream
  },
  'a stream in object mode that was read from': () => readSome(Readable.from(['a', 'b'])),
  'a stream that was iterated': async () => {
    const stream = twoChunks()
    await stream.iterator({ destroyOnReturn: false }).next()
    return stream
  },
  'a destroyed stream': () => twoChunks().destroy(),
  'a closed stream': async () => {
    const stream = twoChunks().destroy()
    await new Promise(resolve => stream.once('close', resolve))
    return stream
  },
  'a duplex stream without a readable side': () => new Duplex({ readable: false } as DuplexOptions), // not in its type
  'a chain that was read from': () => readSome(chain([twoChunks(), (chunk: Buffer) => chunk])),
  'an old stream that has ended': () =>
    Object.assign(new EventEmitter(), {
      readable: false,
      pipe: () => {},
      read: () => null,
    }) as unknown as NodeJS.ReadableStream, // has what old streams have
  'a web stream that was read to its end': async () => {
    const stream = webStream()
    await Readable.fromWeb(stream).toArray()
    return stream
  },
  'a web stream that was peeked at': async () => {
    const stream = webStream()
    const reader = stream.getReader()
    await reader.read()
    reader.releaseLock()
    return stream
  },
  'a cancelled web stream': async () => {
    const stream = webStream()
    await stream.cancel()
    return stream
  },
  'a locked web stream': () => {
    const stream = webStream()
    stream.getReader()
    return stream
  },
}

/** Sources that have lost nothing, although some of them have been touched. */
const fresh: Record<string, () => SourceStream> = {
  'an array': () => [OLD],
  'a Set': () => new Set([OLD]),
  'a stream with a reader that has read nothing yet': () => {
    const stream = streamOf(OLD)
    return stream.on('readable', () => stream.read())
  },
  'a stream that is flowing from now on': () => streamOf(OLD).on('data', () => {}),
  'a paused stream': () => streamOf(OLD).pause(),
  'a stream that is piped elsewhere, too': () => {
    const stream = streamOf(OLD)
    stream.pipe(new PassThrough().resume())
    return stream
  },
  'a duplex stream made of a function': () =>
    Duplex.from(async function* () {
      yield OLD
    }),
  'a duplex stream whose writable side has ended': () => new PassThrough().end(OLD),
  'a chain': () => chain([streamOf(OLD), (chunk: Buffer) => chunk]),
  'a stream in object mode': () => Readable.from([OLD.toString()]),
  'a web stream': () => ReadableStream.from([OLD]),
  'a tee of a web stream': () => ReadableStream.from([OLD]).tee()[0],
  'the body of a response': () => new Response(OLD).body ?? [],
  'a typed array that is a view of other memory': () => [
    new Uint16Array(Buffer.from(OLD)).slice(0, 0),
    OLD,
  ],
}

async function checkNothingChanged(t: Test, { dir, get, oss, spool }: Bench): Promise<void> {
  t.same(await get('key'), OLD, 'the object is unchanged')
  t.equal(oss.requests.filter(({ operation }) => operation === 'PutObject').length, 1)
  t.same(
    (await spool.uploads()).filter(({ phase }) => phase !== 'spooling'),
    [],
    'no upload is left that could be resumed',
  )
  const files = await readdir(dir, { recursive: true })
  t.same(
    files.filter(file => /(^|\/)spool-/.test(file)),
    [],
    files.join(' '),
  )
}

for (const [what, source] of Object.entries(used)) {
  t.test(`upload() refuses ${what}`, async t => {
    const all = await bench(t)
    await all.spool.upload('key', () => [OLD])
    await t.rejects(all.spool.upload('key', source), REFUSED)
    await checkNothingChanged(t, all)
    await all.spool.upload('key', () => ['new']) // the upload is not locked
  })
}

for (const [what, source] of Object.entries(fresh)) {
  t.test(`upload() takes ${what}`, async t => {
    const { spool, get } = await bench(t)
    await spool.upload('key', source)
    t.same(await get('key'), OLD)
  })
}

/** One-shot iterators, which look the same when they are exhausted. */
const iterators: Record<string, () => SourceStream> = {
  'a generator': () =>
    (function* () {
      yield OLD
    })(),
  'an async generator': () =>
    (async function* () {
      yield OLD
    })(),
  'an iterator of an array': () => [OLD].values(),
  'an iterable that always returns the same iterator': () => {
    const iterator = [OLD].values()
    return { [Symbol.iterator]: () => iterator }
  },
  'an iterator of a stream': () => streamOf(OLD)[Symbol.asyncIterator](),
}

for (const [what, make] of Object.entries(iterators)) {
  t.test(`upload() refuses ${what} that was given to an upload before`, async t => {
    const all = await bench(t)
    const iterator = make()
    await all.spool.upload('key', () => iterator)
    await t.rejects(
      all.spool.upload('key', () => iterator),
      REFUSED,
      'to an upload of the same key',
    )
    await t.rejects(
      all.spool.upload('other', () => iterator),
      REFUSED,
    )
    await checkNothingChanged(t, all)
    t.equal(await all.get('other'), undefined)
  })
}

t.test('upload() refuses an iterator that was given to an attempt that failed', async t => {
  const { spool, get } = await bench(t)
  const iterator = iterators['an async generator']?.() ?? []
  await t.rejects(
    spool.upload('key', () => iterator, { expect: { bytes: 1 } }),
    { code: 'ERR_SPOOL_EXPECTATION' },
  )
  await t.rejects(
    spool.upload('key', () => iterator),
    REFUSED,
  )
  t.equal(await get('key'), undefined)
})

t.test('upload() takes an iterable that starts anew any number of times', async t => {
  const { spool, get } = await bench(t)
  const set = new Set([OLD])
  const lines = { [Symbol.asyncIterator]: () => Readable.from([OLD])[Symbol.asyncIterator]() }
  for (const source of [set, lines, [OLD]]) {
    for (const key of ['a', 'a', 'b']) {
      await spool.upload(key, () => source)
      t.same(await get(key), OLD)
    }
  }
})

t.test('of two uploads that are given one stream at the same time, the first gets it', async t => {
  for (const stream of [twoChunks(), webStream()]) {
    const { spool, get } = await bench(t)
    const results = await Promise.allSettled(['a', 'b'].map(key => spool.upload(key, () => stream)))
    t.strictSame(results.map(({ status }) => status).toSorted(), ['fulfilled', 'rejected'])
    for (const [i, result] of results.entries()) {
      const size = (await get(i === 0 ? 'a' : 'b'))?.length
      if (result.status === 'rejected') t.match(result.reason, REFUSED)
      t.equal(size, result.status === 'fulfilled' ? 200 : undefined)
    }
  }
})

t.test("a stream that had failed is reported with the stream's own error", async t => {
  const { spool } = await bench(t)
  const cause = new Error('the disk failed')
  // Its `error` event is still to come, and must not end the process.
  await t.rejects(
    spool.upload('key', () => twoChunks().destroy(cause)),
    { ...REFUSED, cause },
  )
})

t.test('upload() closes a refused stream, but not one that another upload reads', async t => {
  const { spool } = await bench(t)
  const stream = await readSome(twoChunks())
  await t.rejects(
    spool.upload('key', () => stream),
    REFUSED,
  )
  t.ok(stream.destroyed)
  const slow = new PassThrough()
  const reading = spool.upload('slow', () => slow)
  await new Promise(resolve => slow.once('resume', resolve))
  await t.rejects(
    spool.upload('other', () => slow),
    REFUSED,
  )
  slow.end(OLD)
  t.match(await reading, { size: OLD.length })
})

const never = new Promise<never>(() => {})

/** Sources with a read that never settles. */
const stuck: Record<string, (onCancel: () => void) => SourceStream> = {
  'an async generator': () =>
    (async function* () {
      yield 'text'
      await never
    })(),
  'a web stream': onCancel => new ReadableStream({ pull: async () => never, cancel: onCancel }),
}

for (const [what, source] of Object.entries(stuck)) {
  t.test(`an aborted upload() does not wait for ${what} with a pending read`, async t => {
    const { spool, get } = await bench(t)
    let isCancelled = false
    const onCancel = (): void => void (isCancelled = true)
    const signal = AbortSignal.timeout(50)
    const upload = spool.upload('key', () => source(onCancel), { signal })
    await t.rejects(upload, { code: 'ERR_SPOOL_ABORTED' })
    t.equal(isCancelled, what === 'a web stream')
    await spool.upload('key', () => [OLD]) // the upload is not locked
    t.same(await get('key'), OLD)
  })
}
