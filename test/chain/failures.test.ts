/** Failures and aborts of `runChain`: everything is closed, nothing is published, nothing stays locked. */
import { once } from 'node:events'
import { createReadStream } from 'node:fs'
import { Duplex, PassThrough, Readable, Writable } from 'node:stream'
import { ReadableStream, TransformStream, WritableStream } from 'node:stream/web'
import { setTimeout as delay } from 'node:timers/promises'
import { createGzip } from 'node:zlib'
import chain, { gen } from 'stream-chain'
import t, { type Test } from 'tap'
import { final, many, runChain } from '../../src/chain/index.js'
import { jsonl, rotate } from '../../src/etl/index.js'
import type { SpoolWriteStream } from '../../src/index.js'
import { until } from '../support/command-line.js'
import { bench, bytes, failingAfter, streamOf, type Bench } from '../support/oss.js'

t.afterEach(() => delay(10)) // an error that is uncaught later fails the test

const lost = new Error('the database went away')

/** A chain that is given a sink, and the error it rejects with. */
type Failing = (sink: SpoolWriteStream) => Promise<unknown>

const id = (chunk: string): string => chunk

function* texts(): Generator<string> {
  for (let i = 0; i < 1000; i++) yield `line ${i}\n`
}

const failing: Record<string, Failing> = {
  'a source that fails': sink => runChain([failingAfter(bytes(9), lost), sink]),
  'a source that fails before a step': sink =>
    runChain([failingAfter(bytes(9), lost), (chunk: Buffer) => chunk, createGzip(), sink]),
  'a source that fails before it is read': sink =>
    runChain([new PassThrough().destroy(lost), sink]),
  'a source that fails in the same moment': sink => {
    const source = new PassThrough()
    process.nextTick(() => source.destroy(lost))
    return runChain([source, id, sink])
  },
  'a generator that throws': sink =>
    runChain([
      function* () {
        yield* texts()
        throw lost
      },
      id,
      sink,
    ]),
  'a source function that throws': sink =>
    runChain([
      (): string[] => {
        throw lost
      },
      id,
      sink,
    ]),
  'a source function that rejects': sink =>
    runChain([async (): Promise<string[]> => Promise.reject(lost), id, sink]),
  'a web source that fails': sink =>
    runChain([
      new ReadableStream<string>({ pull: controller => controller.error(lost) }),
      id,
      sink,
    ]),
  'a step that throws at once': sink =>
    runChain([
      texts(),
      (): string => {
        throw lost
      },
      sink,
    ]),
  'a step that throws late': sink => {
    let count = 0
    const step = (text: string): string => {
      if (count++ === 500) throw lost
      return text
    }
    return runChain([texts(), id, step, id, createGzip(), sink])
  },
  'a step that rejects': sink =>
    runChain([texts(), async (): Promise<string> => Promise.reject(lost), sink]),
  'a generator step that throws': sink =>
    runChain([
      texts(),
      function* (text) {
        yield text
        throw lost
      },
      sink,
    ]),
  'a stream that fails': sink => {
    const stream = new PassThrough()
    stream.once('data', () => stream.destroy(lost))
    return runChain([texts(), id, stream, (chunk: Buffer) => chunk, sink])
  },
  'a chain that fails as a step': sink =>
    runChain([
      texts(),
      chain([
        (text: string): string => {
          if (text.includes('9')) throw lost
          return text
        },
      ]),
      sink,
    ]),
  'a web step that fails': sink =>
    runChain([
      texts(),
      new TransformStream<string, string>({ transform: (_text, all) => all.error(lost) }),
      sink,
    ]),
}

for (const [what, run] of Object.entries(failing)) {
  t.test(`runChain() rejects with the error of ${what} and publishes nothing`, async t => {
    const { spool, get } = await bench(t)
    const sink = spool.createWriteStream('k')
    await t.rejects(run(sink), lost)
    t.ok(sink.closed, 'the sink is closed')
    await t.rejects(sink.result, { code: 'ERR_SPOOL_SOURCE_FAILED' })
    t.equal(await get('k'), undefined)
    // Another upload of this id finds nothing locked.
    await runChain([['new'], spool.createWriteStream('k')])
    t.equal((await get('k'))?.toString(), 'new')
  })
}

const falsy: Record<string, (text: string) => unknown> = {
  'a function': text => {
    // oxlint-disable-next-line typescript/only-throw-error -- as code of others does
    if (text === 'b') throw undefined
    return text
  },
  'a promise': text => (text === 'b' ? Promise.reject() : text),
  'a generator': function* (text) {
    yield text
    // oxlint-disable-next-line typescript/only-throw-error -- as code of others does
    if (text === 'b') throw undefined
  },
  'an asynchronous generator': async function* (text) {
    yield text
    if (text === 'b') await Promise.reject()
  },
  'a promise among several results': text => many([text, text === 'b' ? Promise.reject() : text]),
  'a generator among several results': text =>
    many([
      (function* () {
        yield text
        // oxlint-disable-next-line typescript/only-throw-error -- as code of others does
        if (text === 'b') throw undefined
      })(),
    ]),
  'a promise that a generator yields': function* (text) {
    yield text === 'b' ? Promise.reject() : text
  },
  'several results of a promise': async text =>
    many([text === 'b' ? Promise.reject() : text, text]),
  'a function of a list': gen(
    (text: string) => text,
    (text: string) => (text === 'b' ? Promise.reject() : text),
  ),
}

for (const [what, step] of Object.entries(falsy)) {
  t.test(`runChain() rejects if ${what} fails without a reason`, async t => {
    const b = await bench(t)
    const sink = b.spool.createWriteStream('key')
    const chained = runChain([['a', 'b', 'c'], step as (text: string) => string, sink])
    await t.rejects(chained, { message: /failed with undefined/ })
    t.equal(await b.get('key'), undefined)
  })
}

t.test('runChain() rejects with the first failure of promises among several results', async t => {
  const { spool } = await bench(t)
  const step = (): unknown => many([delay(50).then(() => Promise.reject(lost)), Promise.reject(1)])
  const chained = runChain([['a'], step as () => string, spool.createWriteStream('key')])
  await t.rejects(chained, lost)
})

t.test('runChain() rejects with the SpoolError of the sink if OSS fails', async t => {
  const { oss, spool, get } = await bench(t)
  const fault = oss.inject({ do: 'answer', status: 403, code: 'AccessDenied', times: 'always' })
  const data = bytes(250_000)
  const run = runChain([streamOf(data), (chunk: Buffer) => chunk, spool.createWriteStream('k')])
  await t.rejects(run, { code: 'ERR_SPOOL_DENIED', resumable: true })
  const [left] = await spool.uploads()
  fault.remove()
  await spool.resume(left?.id ?? '')
  t.same(await get('k'), data)
})

t.test('runChain() rejects with the SpoolError of an object of rotate()', async t => {
  const { oss, spool } = await bench(t)
  oss.inject({ do: 'answer', status: 403, code: 'AccessDenied', times: 'always' })
  const sink = rotate<{ readonly text: string }>(spool, {
    job: 'j',
    key: '{job}-{seq}',
    format: jsonl,
    every: { records: 10 },
  })
  await t.rejects(runChain([texts(), text => ({ text }), sink]), { code: 'ERR_SPOOL_DENIED' })
  t.ok(sink.closed)
})

t.test('runChain() rejects if the sink cannot open, although the source never does', async t => {
  const { spool } = await bench(t)
  const owner = spool.createWriteStream('k')
  owner.write('x')
  await new Promise(resolve => owner.write('y', resolve))
  let signal: AbortSignal | undefined
  const source = async (options: { readonly signal: AbortSignal }): Promise<string[]> => {
    signal = options.signal
    return new Promise(() => {})
  }
  await t.rejects(runChain([source, spool.createWriteStream('k')]), { code: 'ERR_SPOOL_LOCKED' })
  t.ok(signal?.aborted)
  owner.destroy()
  await owner.result.catch(() => {})
})

t.test('runChain() reports why a sink was destroyed', async t => {
  const { spool } = await bench(t)
  const sink = spool.createWriteStream('k')
  const run = runChain([() => endlessly().source(), sink])
  setTimeout(() => sink.destroy(), 20)
  await t.rejects(run, { code: 'ERR_SPOOL_SOURCE_FAILED' })
  const other = new PassThrough()
  setTimeout(() => other.destroy(), 20)
  await t.rejects(runChain([() => endlessly().source(), other]), {
    code: 'ERR_STREAM_PREMATURE_CLOSE',
  })
})

t.test('runChain() rejects if somebody else ends the sink', async t => {
  const sink = new Writable({ objectMode: true, write: (_record, _encoding, done) => done() })
  const { source, state } = endlessly()
  const run = runChain([source, sink])
  setTimeout(() => sink.end(), 20)
  await t.rejects(run)
  await until(() => state.isClosed)
})

/** A source of text without an end. */
function endlessly(): {
  readonly source: () => AsyncGenerator<string>
  readonly state: { isClosed: boolean }
} {
  const state = { isClosed: false }
  return {
    state,
    async *source() {
      try {
        for (;;) {
          await delay(1)
          yield 'text'
        }
      } finally {
        state.isClosed = true
      }
    },
  }
}

t.test('runChain() refuses objects before a stream of bytes', async t => {
  const { spool, get } = await bench(t)
  const object = { id: 1 }
  const error = { code: 'ERR_INVALID_ARG_TYPE' }
  // The types refuse most of these chains.
  const run = runChain as unknown as (items: readonly unknown[]) => Promise<unknown>
  const sinks: Record<string, () => Writable> = {
    'an upload': () => spool.createWriteStream('k'),
    'a compressor': () => createGzip(),
    'a stream of bytes': () => new PassThrough(),
  }
  for (const [what, sink] of Object.entries(sinks)) {
    await t.rejects(run([[object], sink()]), error, `${what} after an array`)
    await t.rejects(run([Readable.from([object]), sink()]), error, `${what} after a stream`)
    await t.rejects(run([texts(), () => object, sink()]), error, `${what} after a step`)
    await t.rejects(
      run([texts(), () => final(object), sink()]),
      error,
      `${what} after a final value`,
    )
    const { source, state } = endlessly()
    const later = async (): Promise<object> => (await delay(1), object)
    await t.rejects(run([source, later, sink()]), error, `${what} after an async step`)
    await until(() => state.isClosed)
  }
  await t.rejects(run([[1], createGzip(), spool.createWriteStream('k')]), error)
  t.equal(await get('k'), undefined)
})

// Aborts.

async function aborted(t: Test, run: (signal: AbortSignal) => Promise<unknown>): Promise<void> {
  const controller = new AbortController()
  const reason = new Error('not needed any more')
  setTimeout(() => controller.abort(reason), 30)
  await t.rejects(run(controller.signal), { name: 'AbortError', code: 'ABORT_ERR', cause: reason })
}

t.test('an aborted chain closes its source and its sink', async t => {
  const { spool, get } = await bench(t)
  const { source, state } = endlessly()
  const sink = spool.createWriteStream('k')
  await aborted(t, signal => runChain([source, id, createGzip(), sink], { signal }))
  t.ok(sink.closed)
  await until(() => state.isClosed)
  t.equal(await get('k'), undefined)
})

const never = new Promise<string>(() => {})

const stuck: Record<string, (sink: Writable, signal: AbortSignal) => Promise<unknown>> = {
  'a source function': (sink, signal) =>
    runChain([async (): Promise<string[]> => [await never], id, sink], { signal }),
  'an async generator': (sink, signal) => {
    const source = async function* () {
      yield 'text'
      yield await never
    }
    return runChain([source, id, sink], { signal })
  },
  'a web source': (sink, signal) => {
    const source = new ReadableStream<string>({ pull: async () => void (await never) })
    return runChain([source, id, sink], { signal })
  },
  'a Node stream as the source': (sink, signal) =>
    runChain([new Readable({ read() {} }), sink], { signal }),
  'an async function': (sink, signal) => runChain([texts(), () => never, sink], { signal }),
  'an async generator function as a step': (sink, signal) => {
    const step = async function* () {
      yield await never
    }
    return runChain([texts(), step, sink], { signal })
  },
  'a web step': (sink, signal) => {
    const step = new TransformStream<string, string>({ transform: async () => void (await never) })
    return runChain([texts(), step, sink], { signal })
  },
  'a Node stream as a step': (sink, signal) =>
    runChain([texts(), new Duplex({ read() {}, write() {} }), sink], { signal }),
}

for (const [what, run] of Object.entries(stuck)) {
  t.test(`an aborted chain does not wait for ${what} that never settles`, async t => {
    const { spool } = await bench(t)
    const sink = spool.createWriteStream('k')
    await aborted(t, signal => run(sink, signal))
    t.ok(sink.closed)
  })
}

t.test('an aborted chain cancels a web source with a pending read', async t => {
  let reason: unknown
  const source = new ReadableStream<string>({
    pull: async () => new Promise(() => {}),
    cancel: error => void (reason = error),
  })
  const sink = new PassThrough()
  await aborted(t, signal => runChain([source, sink], { signal }))
  t.match(reason, { name: 'AbortError' })
})

t.test('a source that arrives after the abort is closed', async t => {
  const late = new PassThrough()
  const source = async (): Promise<PassThrough> => (await delay(60), late)
  await aborted(t, signal => runChain([source, new PassThrough()], { signal }))
  await once(late, 'close')
  t.ok(late.destroyed)
})

t.test('a signal that is aborted before starts nothing and closes everything', async t => {
  const work: Bench = await bench(t)
  const reason = new Error('too late')
  const signal = AbortSignal.abort(reason)
  const expected = { name: 'AbortError', code: 'ABORT_ERR', cause: reason }
  let isCalled = false
  const source = (): string[] => {
    isCalled = true
    return []
  }
  const sink = work.spool.createWriteStream('k')
  const step = new PassThrough()
  await t.rejects(runChain([source, step, sink], { signal }), expected)
  t.notOk(isCalled)
  t.ok(sink.closed && step.closed)

  const node = createReadStream(import.meta.filename)
  await t.rejects(runChain([node, work.spool.createWriteStream('k')], { signal }), expected)
  t.ok(node.closed)
  let isCancelled = false
  const web = new ReadableStream<string>({ cancel: () => void (isCancelled = true) })
  await t.rejects(runChain([web, new WritableStream<string>()], { signal }), expected)
  t.ok(isCancelled)
  const generator = texts()
  await t.rejects(runChain([generator, new PassThrough()], { signal }), expected)
  t.same(generator.next(), { done: true, value: undefined })
  await runChain([['new'], work.spool.createWriteStream('k')])
})

t.test('a sink whose result rejects causes no unhandled rejection', async t => {
  const sink = Object.assign(new PassThrough(), { result: Promise.reject(lost) })
  await t.rejects(runChain([failingAfter(bytes(9), new Error('first')), sink]), {
    message: 'first',
  })
  const other = Object.assign(new PassThrough().resume(), { result: Promise.reject(lost) })
  await t.rejects(runChain([['text'], other]), lost)
})
