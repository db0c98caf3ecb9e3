/** Chains that `runChain` refuses, and sources whose records would be missing. */
import { PassThrough, Readable, Writable } from 'node:stream'
import { ReadableStream, WritableStream } from 'node:stream/web'
import t from 'tap'
import { runChain } from '../../src/chain/index.js'
import { bench } from '../support/oss.js'

// The types refuse most of these chains.
const run = runChain as unknown as (items: unknown, options?: unknown) => Promise<unknown>

const pass = (): PassThrough => new PassThrough({ objectMode: true })
const closed = (): PassThrough => new PassThrough().destroy()
const readable = (): Readable => Readable.from(['text'])
const writable = (): Writable => pass().resume()
const lockedSink = (): WritableStream => {
  const stream = new WritableStream()
  stream.getWriter()
  return stream
}
const twice = pass()

const TYPE = { name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' }
const STATE = { name: 'TypeError', code: 'ERR_INVALID_STATE' }
const VALUE = { name: 'TypeError', code: 'ERR_INVALID_ARG_VALUE' }

const refused: Record<string, [items: () => unknown, error: typeof TYPE]> = {
  'no array': [() => writable(), TYPE],
  'an empty array': [() => [], TYPE],
  'a lone sink': [() => [writable()], TYPE],
  'a source that cannot be read': [() => [5, writable()], TYPE],
  'a text as the source': [() => ['text', writable()], TYPE],
  'bytes as the source': [() => [Buffer.from('text'), writable()], TYPE],
  'nothing as the source': [() => [null, writable()], TYPE],
  'a function as the sink': [() => [readable(), () => {}], TYPE],
  'nothing as the sink': [() => [readable(), null], TYPE],
  'a sink that cannot be written to': [() => [readable(), readable()], TYPE],
  'a web sink that cannot be written to': [() => [readable(), new ReadableStream()], TYPE],
  'a number as a step': [() => [readable(), 5, writable()], TYPE],
  'a readable step': [() => [readable(), readable(), writable()], TYPE],
  'a writable step': [() => [readable(), new Writable(), writable()], TYPE],
  'a wrong step in an array': [() => [readable(), [[String, {}]], writable()], TYPE],
  'the same stream twice': [() => [readable(), twice, twice, writable()], VALUE],
  'the source as a step': [() => [twice, twice, writable()], VALUE],
  'the source as the sink': [() => [twice, twice], VALUE],
  'a closed step': [() => [readable(), closed(), writable()], STATE],
  'an ended step': [() => [readable(), pass().end(), writable()], STATE],
  'a closed sink': [() => [readable(), closed()], STATE],
  'an ended sink': [() => [readable(), pass().end()], STATE],
  'a locked web sink': [() => [readable(), lockedSink()], STATE],
}

for (const [what, [items, error]] of Object.entries(refused)) {
  t.test(`runChain() refuses ${what}`, t => t.rejects(run(items()), error))
}

t.test('runChain() refuses wrong options', async t => {
  const items = (): unknown[] => [readable(), writable()]
  await t.rejects(run(items(), 5), TYPE)
  await t.rejects(run(items(), { signal: {} }), TYPE)
  await t.rejects(run(items(), { sginal: undefined }), VALUE)
})

t.test('a refused chain closes its streams and calls no source', async t => {
  const { spool, get } = await bench(t)
  const sink = spool.createWriteStream('k')
  const source = readable()
  const step = pass()
  await t.rejects(run([source, 5, step, sink]), TYPE)
  t.ok(source.closed && step.closed && sink.closed)
  let isCalled = false
  await t.rejects(run([() => (isCalled = true), 5, spool.createWriteStream('k')]), TYPE)
  t.notOk(isCalled)
  await runChain([['new'], spool.createWriteStream('k')])
  t.equal((await get('k'))?.toString(), 'new', 'nothing is locked')
})

const LOST = { name: 'SpoolError', code: 'ERR_SPOOL_SOURCE_FAILED' }

async function readSome(stream: Readable): Promise<Readable> {
  await new Promise(resolve => stream.once('readable', resolve))
  stream.read(1)
  return stream
}

/** Sources that look empty or cut although they had records. */
const used: Record<string, () => unknown> = {
  'a stream that was read to its end': async () => {
    const source = readable()
    await source.toArray()
    return source
  },
  'a stream that was read from': async () => readSome(Readable.from(['a', 'b'])),
  'a destroyed stream': () => readable().destroy(),
  'a locked web stream': () => {
    const source = ReadableStream.from(['text'])
    source.getReader()
    return source
  },
  'a web stream that was cancelled': async () => {
    const source = ReadableStream.from(['text'])
    await source.cancel()
    return source
  },
  'a generator that another chain has read': async () => {
    const source = (function* () {
      yield 'text'
    })()
    await runChain([source, writable()])
    return source
  },
  'a stream that another chain has read': async () => {
    const source = readable()
    await runChain([source, writable()])
    return source
  },
}

for (const [what, source] of Object.entries(used)) {
  t.test(`runChain() never takes ${what} for an empty source`, async t => {
    const { spool, get } = await bench(t)
    await t.rejects(run([await source(), spool.createWriteStream('k')]), LOST)
    const given = await source()
    await t.rejects(run([() => given, spool.createWriteStream('k')]), LOST, 'by a function')
    t.equal(await get('k'), undefined)
  })
}

t.test('a stream can be in one chain only, which another one does not disturb', async t => {
  const source = readable()
  const step = pass()
  const sink = writable()
  const first = runChain([source, step, sink])
  await t.rejects(run([readable(), step, writable()]), STATE)
  await t.rejects(run([readable(), sink]), STATE)
  await t.rejects(run([source, writable()]), LOST)
  await t.rejects(run([source, 5, sink]), TYPE)
  await first
  t.ok(sink.writableFinished)
})

t.test('an array of records can be read again', async t => {
  const records = ['a', 'b']
  for (let i = 0; i < 2; i++) {
    const sink = pass()
    const [written] = await Promise.all([sink.toArray(), runChain([records, sink])])
    t.same(written, records)
  }
})
