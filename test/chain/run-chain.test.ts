/** Sources, steps and sinks of `runChain`, with real uploads. */
import { once } from 'node:events'
import { Duplex, PassThrough, Readable, Transform, Writable } from 'node:stream'
import { CompressionStream, ReadableStream, TransformStream, WritableStream } from 'node:stream/web'
import { setTimeout as delay } from 'node:timers/promises'
import { createGzip, gunzipSync } from 'node:zlib'
import chain from 'stream-chain'
import { fun } from 'stream-chain/fun.js'
import { batch } from 'stream-chain/utils/batch.js'
import { take } from 'stream-chain/utils/take.js'
import t from 'tap'
import {
  final,
  flushable,
  gen,
  many,
  none,
  runChain,
  stop,
  type Records,
} from '../../src/chain/index.js'
import { jsonl, rotate, tap } from '../../src/etl/index.js'
import { bench, bytes, streamOf } from '../support/oss.js'

/** A sink that keeps its records, in object mode. */
function collector(): Writable & { readonly records: unknown[] } {
  const records: unknown[] = []
  const sink = new Writable({
    objectMode: true,
    highWaterMark: 2,
    write(record: unknown, _encoding, callback) {
      records.push(record)
      setImmediate(callback)
    },
  })
  return Object.assign(sink, { records })
}

function* numbers(count: number): Generator<number> {
  for (let i = 0; i < count; i++) yield i
}

async function* slowNumbers(count: number): AsyncGenerator<number> {
  for (const i of numbers(count)) {
    if (i % 10 === 0) await delay(1)
    yield i
  }
}

const FIFTY = [...numbers(50)]

const sources: Record<
  string,
  () => Records<number> | (() => Records<number> | Promise<Records<number>>)
> = {
  'an array': () => FIFTY,
  'a Set': () => new Set(FIFTY),
  'a generator': () => numbers(50),
  'a generator function': () => () => numbers(50),
  'an async generator': () => slowNumbers(50),
  'an async generator function': () => () => slowNumbers(50),
  'a Node stream': () => Readable.from(FIFTY),
  'a Node stream that flows from now on': () => Readable.from(FIFTY).resume(),
  'a chain': () => chain([Readable.from(FIFTY), (n: number) => n]),
  'a web stream': () => ReadableStream.from(FIFTY),
  'a function that returns a stream': () => () => Readable.from(FIFTY),
  'an async function': () => async () => ReadableStream.from(FIFTY),
}

for (const [what, source] of Object.entries(sources)) {
  t.test(`runChain() reads ${what}`, async t => {
    const sink = collector()
    t.equal(await runChain([source(), n => n + 1, sink]), undefined)
    t.same(
      sink.records,
      FIFTY.map(n => n + 1),
    )
    t.ok(sink.writableFinished && sink.closed)
    const direct = collector()
    await runChain([source(), direct])
    t.same(direct.records, FIFTY, 'without a step')
  })
}

const odd = (n: number) => (n % 2 === 1 ? n : none)

t.test('runChain() takes every kind of step', async t => {
  const sum = (): ((n: number) => number | typeof none) => {
    let total = 0
    return flushable(
      (n: number): number | typeof none => ((total += n), none),
      () => total,
    )
  }
  const run = async (...steps: readonly unknown[]): Promise<unknown[]> => {
    const sink = collector()
    // Each list of steps is one that the types accept.
    await (runChain as (items: readonly unknown[]) => Promise<unknown>)([
      numbers(10),
      ...steps,
      sink,
    ])
    return sink.records
  }
  t.same(await run(odd), [1, 3, 5, 7, 9], 'none')
  t.same(await run(odd, (n: number) => many([n, -n])), [1, -1, 3, -3, 5, -5, 7, -7, 9, -9], 'many')
  t.same(await run((n: number) => (n < 3 ? n : stop)), [0, 1, 2], 'stop')
  t.same(
    await run((n: number) => (n < 3 ? final(n) : n), String),
    [0, 1, 2, '3', '4', '5', '6', '7', '8', '9'],
    'final',
  )
  t.same(await run(sum()), [45], 'a flushable function')
  t.same(
    await run(async (n: number) => (await delay(1), n * 2), odd, String),
    [],
    'async functions',
  )
  t.same(
    await run(function* (n: number) {
      if (n > 7) yield* [n, n]
    }),
    [8, 8, 9, 9],
    'a generator function',
  )
  t.same(
    await run(async function* (n: number) {
      await delay(1)
      if (n > 7) yield n
    }),
    [8, 9],
    'an async generator function',
  )
  t.same(await run(gen(odd, String)), ['1', '3', '5', '7', '9'], 'gen()')
  t.same(await run(fun(odd, String)), ['1', '3', '5', '7', '9'], 'fun()')
  t.same(await run([odd, [String]]), ['1', '3', '5', '7', '9'], 'nested arrays')
  t.same(await run(null, odd, undefined, false, []), [1, 3, 5, 7, 9], 'nothing')
  t.same(
    await run(batch(4)),
    [
      [0, 1, 2, 3],
      [4, 5, 6, 7],
      [8, 9],
    ],
    'batch()',
  )
  t.same(await run(odd, tap(), String), ['1', '3', '5', '7', '9'], 'a stream between functions')
  t.same(await run(chain([odd, String])), ['1', '3', '5', '7', '9'], 'a chain')
  t.same(
    await run(
      new TransformStream({
        transform: (n: number, controller) => void (n > 7 && controller.enqueue(n)),
      }),
    ),
    [8, 9],
    'a web transform stream',
  )
  t.same(await run(parseInt), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9], 'functions get the record alone')
})

t.test('runChain() resolves with the result of an upload', async t => {
  const { spool, get } = await bench(t)
  const data = bytes(350_000)
  const result = await runChain([streamOf(data), createGzip(), spool.createWriteStream('a.gz')])
  t.match(result, { key: 'a.gz', sourceRead: true })
  t.same(gunzipSync((await get('a.gz')) ?? ''), data)
  t.same(await spool.uploads(), [])
})

t.test('runChain() resolves with the manifest of rotate()', async t => {
  const { spool, get } = await bench(t)
  const sink = rotate<{ readonly id: number }>(spool, {
    job: 'j',
    key: '{job}-{seq}.jsonl',
    format: jsonl,
    every: { records: 30 },
  })
  const { records, objects } = await runChain([numbers(50), id => ({ id }), sink])
  t.equal(records, 50)
  t.equal(objects.length, 2)
  t.equal((await get('j-1.jsonl'))?.toString().split('\n').length, 21)
})

t.test('runChain() writes text and bytes to an upload', async t => {
  const { spool, get } = await bench(t)
  const sink = spool.createWriteStream('k')
  await runChain([numbers(3), n => many([`${n}ä`, Buffer.from('|'), new Uint8Array([10])]), sink])
  t.equal((await get('k'))?.toString(), '0ä|\n1ä|\n2ä|\n')
})

t.test('runChain() writes to web streams, and through them', async t => {
  const records: number[] = []
  let isClosed = false
  const sink = new WritableStream<number>({
    write: record => void records.push(record),
    close: () => void (isClosed = true),
  })
  const double = new TransformStream<number, number>({
    transform: (n, controller) => controller.enqueue(n * 2),
  })
  t.equal(await runChain([slowNumbers(20), double, n => n + 1, sink]), undefined)
  t.same(
    records,
    [...numbers(20)].map(n => n * 2 + 1),
  )
  t.ok(isClosed)

  const { spool, get } = await bench(t)
  const data = bytes(200_000)
  await runChain([streamOf(data), new CompressionStream('gzip'), spool.createWriteStream('k')])
  t.same(gunzipSync((await get('k')) ?? ''), data)
})

t.test('runChain() waits for the sink inside a chain', async t => {
  const { oss, spool, get } = await bench(t)
  const held = oss.inject({ do: 'hang', operation: 'CompleteMultipartUpload', at: 'received' })
  const data = bytes(250_000)
  let isDone = false
  const sink = spool.createWriteStream('k')
  const run = runChain([streamOf(data), chain([(chunk: Buffer) => chunk, sink])]).then(
    () => (isDone = true),
  )
  await held.hit()
  t.notOk(isDone)
  held.remove()
  await run
  t.same(await get('k'), data)
})

t.test('runChain() rejects if the sink inside a chain fails', async t => {
  const { oss, spool } = await bench(t)
  oss.inject({ do: 'answer', status: 403, code: 'AccessDenied', times: 'always' })
  const sink = chain([(chunk: string) => chunk, spool.createWriteStream('k')])
  await t.rejects(runChain([['text'], sink]), { code: 'ERR_SPOOL_DENIED', resumable: true })
})

t.test('runChain() leaves the readable side of a duplex sink to the caller', async t => {
  const sink = new PassThrough({ objectMode: true, highWaterMark: 2 })
  const [records] = await Promise.all([sink.toArray(), runChain([numbers(50), sink])])
  t.same(records, FIFTY)
})

t.test('runChain() joins adjacent functions into one stream', async t => {
  const stages: string[] = []
  const sink = collector().on('pipe', from => stages.push(from.constructor.name))
  const gzip = createGzip().on('pipe', from => stages.push(from.constructor.name))
  await runChain([['a'], String, String, String, gzip, sink])
  t.same(stages, ['Duplex', 'Gzip'])
})

t.test('runChain() applies back-pressure to its source', async t => {
  let read = 0
  let written = 0
  let most = 0
  const source = function* () {
    for (; read < 500; read++) yield read
  }
  const sink = new Writable({
    objectMode: true,
    highWaterMark: 1,
    write(_record, _encoding, callback) {
      most = Math.max(most, read - ++written)
      setImmediate(callback)
    },
  })
  await runChain([source, n => n, sink])
  t.ok(most < 100, `${most} records ahead`)
})

/** A source without an end that records how it was closed. */
function endless(): {
  readonly source: () => Generator<number>
  readonly state: { closed: boolean }
} {
  const state = { closed: false }
  return {
    state,
    *source() {
      try {
        for (let i = 0; ; i++) yield i
      } finally {
        state.closed = true
      }
    },
  }
}

t.test('stop publishes the records so far and closes an endless source', async t => {
  const { spool, get } = await bench(t)
  const { source, state } = endless()
  const sink = spool.createWriteStream('k')
  const result = await runChain([source, n => (n < 3 ? n : stop), n => `${n}\n`, sink])
  t.equal(result.size, 6)
  t.equal((await get('k'))?.toString(), '0\n1\n2\n')
  t.ok(state.closed)
})

t.test('stop closes all streams before it and flushes those after it', async t => {
  const { source, state } = endless()
  const before = tap<number>()
  const sink = collector()
  const late = new Transform({
    objectMode: true,
    transform: (record, _encoding, callback) => callback(null, record),
    flush: callback => callback(null, 'flushed'),
  })
  await runChain([source, n => n, before, take<number>(5, stop), batch<number>(2), late, sink])
  t.same(sink.records, [[0, 1], [2, 3], [4], 'flushed'])
  t.ok(state.closed)
  t.ok(before.destroyed)
})

t.test('stop ends a Node stream without an error', async t => {
  const source = new Readable({
    objectMode: true,
    read() {
      this.push('x')
    },
  })
  const errors: unknown[] = []
  source.on('error', error => errors.push(error))
  const sink = collector()
  await runChain([source, take<string>(3, stop), sink])
  t.same(sink.records, ['x', 'x', 'x'])
  t.ok(source.destroyed)
  t.same(errors, [])
})

t.test('stop cancels a web stream', async t => {
  let isCancelled = false
  const source = new ReadableStream<number>({
    pull: controller => controller.enqueue(1),
    cancel: () => void (isCancelled = true),
  })
  const sink = collector()
  await runChain([source, take<number>(2, stop), sink])
  t.same(sink.records, [1, 1])
  t.ok(isCancelled)
})

t.test('the signal of a source is aborted when its records are not needed any more', async t => {
  let signal: AbortSignal | undefined
  const source = (options: { readonly signal: AbortSignal }) => {
    signal = options.signal
    t.notOk(signal.aborted)
    return numbers(10)
  }
  await runChain([source, collector()])
  t.ok(signal?.aborted)
})

t.test('a custom sink resolves with its result', async t => {
  const sink = Object.assign(collector(), { result: Promise.resolve(5) })
  const result: number = await runChain([[1], sink])
  t.equal(result, 5)
})

t.test('runChain() warns of no leak with many steps', async t => {
  const warnings: unknown[] = []
  const onWarning = (warning: unknown): void => void warnings.push(warning)
  process.on('warning', onWarning)
  const through = (): Duplex => new PassThrough({ objectMode: true })
  const id = (n: number): number => n
  const { signal } = new AbortController()
  for (let i = 0; i < 20; i++) {
    const steps = [through(), id, through(), id, through(), id, through()] as const
    await runChain([numbers(5), ...steps, collector()], { signal })
  }
  const socket = new PassThrough()
  void runChain([['x'], socket])
  await once(socket.resume(), 'end')
  process.off('warning', onWarning)
  t.same(warnings, [])
})
