/** Many open objects: what small ones cost, and limits that end objects in the same way in every run. */
import { spawn } from 'node:child_process'
import { EventEmitter, once } from 'node:events'
import { PassThrough, Readable, Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import t, { type Test } from 'tap'
import { EarlyEnds } from '../../src/etl/early-ends.js'
import {
  jsonl,
  rotate,
  type Manifest,
  type RotateOptions,
  type RotateStream,
  type RotateWarning,
} from '../../src/etl/index.js'
import { ObjectTimers } from '../../src/etl/object-timers.js'
import { OpenObjects } from '../../src/etl/open-objects.js'
import type { SpoolOptions } from '../../src/index.js'
import { until } from '../support/command-line.js'
import { long, sampled } from '../support/long.js'
import { bench, BUCKET, type Bench } from '../support/oss.js'
import { pathOf } from '../support/project.js'
import { randomOf } from '../support/seed.js'

interface Row {
  readonly id: number
  readonly of: string
  readonly text: string
}

setFlagsFromString('--expose-gc')
const collectGarbage: () => void = runInNewContext('gc')

const WORKER = pathOf('test/etl/open-objects-worker.mjs')
/** More than a batch. */
const WIDE_TEXT = 'x'.repeat(70_000)
/** Longer than an open upload with `start: 'eager'` waits before it initiates. */
const SLOW_MS = 500

function* rows(count: number, partitions: number, text = ''): Generator<Row> {
  for (let id = 0; id < count; id++) yield { id, of: `k${id % partitions}`, text }
}

function open(b: Bench, options: Partial<RotateOptions<Row>> = {}): RotateStream<Row> {
  return rotate<Row>(b.spool, {
    job: 'job',
    key: '{job}/{partition}-{seq}',
    partitionBy: ({ of }) => of,
    format: jsonl,
    manifest: '{job}.json',
    ...options,
  })
}

/** Returns what of a manifest is equal in all runs. */
const contentsOf = ({ objects }: Manifest): unknown =>
  objects.map(({ created: _created, ...object }) => object)

const summaryOf = ({ objects }: Manifest): string[] =>
  objects.map(({ key, records }) => `${key.slice(key.indexOf('/') + 1)} ${records}`)

/** Returns the requests of a bench as a list of operations and their numbers. */
function operations({ oss }: Bench): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const { operation } of oss.requests) counts[operation] = (counts[operation] ?? 0) + 1
  return counts
}

t.test('200 keys in turn with default options give 200 objects, each by one request', async t => {
  const b = await bench(t)
  const sink = open(b, { transform: 'gzip' })
  await pipeline(rows(1000, 200), sink)
  const { objects } = await sink.result
  t.equal(objects.length, 200)
  t.ok(objects.every(({ records }) => records === 5))
  t.same(operations(b), { PutObject: 201 })
})

t.test('20 small objects that are open for long cost 21 requests', async t => {
  for (const [name, text] of [
    ['less than a batch', ''],
    ['more than a batch', WIDE_TEXT],
  ] as const) {
    const b = await bench(t, { spool: { partSize: 8 * 2 ** 20 } })
    const source = new PassThrough({ objectMode: true })
    const sink = open(b, { transform: 'gzip' })
    const done = pipeline(source, sink)
    for (const row of rows(20, 20, text)) source.write(row)
    await sleep(SLOW_MS)
    source.end([...rows(1, 1, text)][0])
    await done
    t.equal((await sink.result).objects.length, 20)
    t.same(operations(b), { PutObject: 21 }, name)
  }
})

t.test('`start` of the upload options or of the spool is kept', async t => {
  const initiations = async (
    upload: { start?: 'eager' },
    defaults: Partial<SpoolOptions> = {},
  ): Promise<number> => {
    const b = await bench(t, { spool: { ...defaults, partSize: 8 * 2 ** 20 } })
    const sink = open(b, { upload })
    sink.write({ id: 0, of: 'a', text: WIDE_TEXT })
    const isEager = (upload.start ?? defaults.start) === 'eager'
    if (isEager) while (b.count('InitiateMultipartUpload') === 0) await sleep(5)
    else await sleep(SLOW_MS)
    sink.end()
    await sink.result
    return b.count('InitiateMultipartUpload')
  }
  t.equal(await initiations({}), 0)
  t.equal(await initiations({ start: 'eager' }), 1)
  t.equal(await initiations({}, { start: 'eager' }), 1)
})

t.test('an object has no upload before its first batch is full', async t => {
  const b = await bench(t)
  const sink = open(b)
  sink.on('error', () => {})
  for (const row of rows(20, 20)) sink.write(row)
  sink.write({ id: 20, of: 'wide', text: WIDE_TEXT })
  while ((await b.spool.uploads()).length === 0) await sleep(5)
  t.match(await b.spool.uploads(), [{ key: 'job/wide-0' }])
  sink.destroy(new Error('cut'))
  await t.rejects(sink.result, { code: 'ERR_SPOOL_SOURCE_FAILED' })
})

t.test('maxOpenFiles ends the least recently used object with a file', async t => {
  const b = await bench(t)
  const sink = open(b, { maxOpenFiles: 2 })
  const warnings: RotateWarning[] = []
  sink.on('warning', warning => warnings.push(warning))
  const wide = (of: string): Row => ({ id: 0, of, text: WIDE_TEXT })
  const small = (of: string): Row => ({ id: 0, of, text: '' })
  const records = ['s1', 'A', 'B', 's2', 'A', 'C', 'A', 's1', 'B', 's2', 'C']
  await pipeline(
    records.map(of => (of.startsWith('s') ? small(of) : wide(of))),
    sink,
  )
  t.same(summaryOf(await sink.result), [
    's1-0 2',
    'A-0 3', // ended by the last C
    'B-0 1', // ended by the first C
    's2-0 2',
    'C-0 1', // ended by the second B
    'B-1 1',
    'C-1 1',
  ])
  t.match(warnings, [
    { option: 'maxOpenFiles', limit: 2, objects: 1 },
    { option: 'maxOpenFiles', limit: 2, objects: 2 },
    { option: 'maxOpenFiles', limit: 2, objects: 3 },
  ])
})

t.test('an object that is full with its first batch ends no other object', async t => {
  const b = await bench(t)
  const sink = open(b, { maxOpenFiles: 1, every: { bytes: 65_536 } })
  sink.on('warning', warning => t.fail(warning.message))
  await pipeline(rows(9, 3, WIDE_TEXT), sink)
  t.same((await sink.result).objects.length, 9)
})

t.test('with `commit`, every open object has a file', async t => {
  const b = await bench(t)
  const sink = open(b, { manifest: undefined as never, commit: { records: 3 }, maxOpenFiles: 4 })
  const warnings: RotateWarning[] = []
  sink.on('warning', warning => warnings.push(warning))
  await pipeline(rows(100, 10), sink)
  const { objects, records } = await sink.result
  t.equal(records, 100)
  t.equal(objects.length, 100)
  t.equal(b.count('PutObject'), 100)
  t.match(warnings.at(-1), { option: 'maxOpenFiles', limit: 4, objects: 96 })
})

t.test('warnings come at the first early end, at doubled numbers, and at the end', async t => {
  const b = await bench(t)
  const sink = open(b, { maxOpen: 10 })
  const warnings: RotateWarning[] = []
  sink.on('warning', warning => warnings.push(warning))
  await pipeline(rows(37, 37), sink)
  t.same(
    warnings.map(({ objects }) => objects),
    [1, 2, 4, 8, 16, 27],
  )
  t.ok(warnings.every(({ option, limit }) => option === 'maxOpen' && limit === 10))

  const quiet = open(b, { job: 'quiet', maxOpen: 37 })
  quiet.on('warning', warning => t.fail(warning.message))
  await pipeline(rows(100, 37), quiet)

  const numbers: number[] = []
  const ends = new EarlyEnds({ maxOpen: 1, maxOpenFiles: 1 }, ({ objects }) =>
    numbers.push(objects),
  )
  for (let i = 0; i < 4; i++) ends.add('maxOpen')
  ends.add('maxOpenFiles')
  ends.finish()
  t.same(numbers, [1, 2, 4, 1], 'a number is reported once')
})

t.test('a transform that cannot be created fails the job with its error', async t => {
  const b = await bench(t)
  const failure = new Error('no')
  const transform = (): never => {
    throw failure
  }
  for (const [job, text] of [
    ['in-a-write', WIDE_TEXT],
    ['at-the-end', ''],
  ] as const) {
    const sink = open(b, { job, transform })
    await t.rejects(pipeline(rows(3, 1, text), sink), failure, job)
    await t.rejects(sink.result, failure)
  }
  t.same(operations(b), {})
})

t.test('a transform that closes before its end fails the job', async t => {
  const b = await bench(t)
  for (const at of ['transform', 'flush'] as const) {
    const closing = (): Transform => {
      const stream = new PassThrough()
      stream[`_${at}`] = () => stream.destroy()
      return stream
    }
    const sink = open(b, { job: at, transform: closing })
    const failure = { code: 'ERR_STREAM_PREMATURE_CLOSE' }
    await t.rejects(pipeline(rows(3, 1), sink), failure, at)
    await t.rejects(sink.result, failure)
  }
  t.equal(b.count('PutObject'), 0)
})

t.test(
  'open objects do not keep their latest record, which may be a slice of a large chunk',
  async t => {
    const b = await bench(t)
    const sink = rotate<Buffer>(b.spool, {
      job: 'job',
      key: '{job}/{partition}',
      partitionBy: record => record.toString(),
    })
    const chunks: WeakRef<object>[] = []
    for (let i = 0; i < 20; i++) {
      const chunk = Buffer.alloc(100_000, String(i))
      chunks.push(new WeakRef(chunk.buffer))
      await new Promise(resolve => sink.write(chunk.subarray(0, 2), resolve))
    }
    const kept = (): number => {
      collectGarbage()
      return chunks.filter(chunk => chunk.deref() !== undefined).length
    }
    // The current one may be in use.
    await until(() => kept() <= 1)
    sink.end()
    t.equal((await sink.result).records, 20)
  },
)

t.test('destroy() while objects wait for their output settles the job', async t => {
  const b = await bench(t)
  const stuck = (): Transform => new Transform({ transform: () => {} })
  const sink = open(b, { transform: stuck, maxOpen: 2, maxEnding: 1 })
  sink.on('error', () => {})
  for (const row of [...rows(8, 8), ...rows(2, 2, WIDE_TEXT)]) sink.write(row)
  await sleep(50)
  sink.destroy(new Error('cut'))
  await t.rejects(sink.result, { code: 'ERR_SPOOL_SOURCE_FAILED' })
  t.ok((await b.spool.uploads()).every(({ owner }) => owner === undefined))
  t.equal(b.count('PutObject'), 0)
})

t.test('a rerun after a failure gives the same objects as a run without', async t => {
  const limits = { maxOpen: 5, maxOpenFiles: 2, transform: 'gzip' } as const
  const random = randomOf(t)
  const records = Array.from({ length: 300 }, (_, id): Row => {
    const of = `k${Math.floor(random() * 8)}`
    return { id, of, text: of < 'k4' ? String(random()).repeat(1000) : '' }
  })
  const b = await bench(t)
  const reference = open(b, { ...limits, manifest: 'reference' })
  await pipeline(records, reference)
  const expected = await reference.result

  const other = await bench(t)
  for (const cut of sampled(t, [10, 100, 200, 299], 2)) {
    const sink = open({ ...other, spool: other.another() }, { ...limits, manifest: 'reference' })
    const source = async function* (): AsyncGenerator<Row> {
      for (const record of records.slice(0, cut)) {
        yield record
        if (record.id % 20 === 0) await sleep(2) // other moments than in the reference
      }
      throw new Error('cut')
    }
    await t.rejects(pipeline(source(), sink), { message: 'cut' })
    await t.rejects(sink.result)
  }
  const again = open(other, { ...limits, manifest: 'reference' })
  await pipeline(Readable.from(records), again)
  t.same(contentsOf(await again.result), contentsOf(expected))
  t.ok(expected.objects.length > 20, `${expected.objects.length} objects`)
  t.equal(
    other.count('PutObject') + other.count('CompleteMultipartUpload'),
    expected.objects.length + 1,
  )
})

async function runWorker({ oss, dir }: Bench, killAfter: number): Promise<void> {
  const { NODE_OPTIONS: _loader, ...env } = process.env
  const job = JSON.stringify({ client: oss.clientOptions(BUCKET), dir, records: 400 })
  const stdio: ['pipe', 'pipe', 'inherit'] = ['pipe', 'pipe', 'inherit']
  const child = spawn(process.execPath, [WORKER, job], { env, stdio })
  const closed = once(child, 'close')
  await once(child.stdout, 'data')
  child.stdin.write('go\n')
  const until = oss.requests.length + killAfter
  while (oss.requests.length < until && child.exitCode === null) await sleep(2)
  if (killAfter < Infinity) child.kill('SIGKILL')
  const [status] = (await closed) as [number | null]
  if (status !== 0 && status !== null) throw new Error(`The job exited with ${status}`)
}

async function workerResult(t: Test, b: Bench): Promise<unknown> {
  const manifest = JSON.parse(String(await b.get('rows/_manifest-job.json'))) as Manifest
  for (const { key, size } of manifest.objects) t.equal((await b.get(key))?.length, size)
  t.same(await b.spool.uploads(), [])
  return contentsOf(manifest)
}

// The test of a rerun after a failure makes the same decisions in one process.
void long(t, 'a job killed while objects end early gives the same objects', async t => {
  const undisturbed = await bench(t)
  await runWorker(undisturbed, Infinity)
  const b = await bench(t)
  const random = randomOf(t)
  for (let kills = 0; kills < 5; kills++) await runWorker(b, Math.floor(random() * 12))
  await runWorker(b, Infinity)
  const objects = await workerResult(t, b)
  t.same(objects, await workerResult(t, undisturbed))
  const published = b.oss.requests.filter(
    ({ operation, status }) =>
      (operation === 'PutObject' || operation === 'CompleteMultipartUpload') && status === 200,
  )
  const keys = published.map(({ key }) => key)
  t.equal(new Set(keys).size, keys.length, 'no object is stored twice')
  t.ok(keys.length > 20, `${keys.length} objects`)
})

t.test('every.idleMs ends an object without records, and not one that gets some', async t => {
  const b = await bench(t)
  const sink = open(b, { every: { idleMs: 1500 } })
  const stop = new AbortController()
  const source = async function* (): AsyncGenerator<Row> {
    yield* rows(1, 1)
    while (!stop.signal.aborted) {
      yield { id: 0, of: 'busy', text: '' }
      await sleep(5)
    }
    yield* rows(1, 1)
  }
  const done = pipeline(source(), sink)
  t.match((await once(sink, 'object'))[0], { key: 'job/k0-0', records: 1 })
  stop.abort()
  await done
  t.same(
    (await sink.result).objects.map(({ key }) => key),
    ['job/k0-0', 'job/busy-0', 'job/k0-1'],
  )
})

t.test('timers of objects that ended or were destroyed have no effect', async t => {
  const b = await bench(t)
  const every = { idleMs: 20, ms: 20 }
  const sink = open(b, { every: { ...every, records: 1 } })
  await pipeline(rows(5, 1), sink)
  const destroyed = open(b, { job: 'destroyed', every })
  destroyed.on('error', () => {})
  destroyed.write({ id: 0, of: 'a', text: '' })
  destroyed.destroy(new Error('cut'))
  await t.rejects(destroyed.result, { code: 'ERR_SPOOL_SOURCE_FAILED' })
  await sleep(100)
  t.same(operations(b), { PutObject: 6 })
  t.same(await b.spool.uploads(), [])
})

t.test('a record that arrives between the timeout and its step keeps the object open', async t => {
  const due = new EventEmitter()
  const alive = setInterval(() => {}, 60_000) // the timers are unref'd
  t.teardown(() => clearInterval(alive))
  const timers = new ObjectTimers({ ms: undefined, idleMs: 1 }, () => due.emit('due'))
  await once(due, 'due')
  t.ok(timers.isDue)
  timers.refresh()
  t.notOk(timers.isDue)
  await once(due, 'due')
  t.ok(timers.isDue)
  timers.clear()
})

t.test('OpenObjects finds the least recently used object and file', t => {
  const objects = new OpenObjects<number>()
  for (const [i, name] of ['a', 'b', 'c', 'd'].entries()) {
    objects.add(name, i)
    if (name !== 'b') objects.addFile(name)
  }
  t.same([objects.size, objects.fileCount], [4, 3])
  t.equal(objects.use('a'), 0)
  t.equal(objects.use('a'), 0)
  t.equal(objects.use('x'), undefined)
  t.same([objects.leastRecentlyUsed, objects.leastRecentlyUsedFile], ['b', 'c'])
  objects.delete('c')
  objects.delete('b')
  t.same([objects.leastRecentlyUsed, objects.leastRecentlyUsedFile], ['d', 'd'])
  t.same([...objects.names()], ['d', 'a'])
  objects.delete('a')
  objects.add('a', 5)
  objects.use('d')
  t.same([objects.get('a'), objects.leastRecentlyUsed], [5, 'a'])
  objects.delete('a')
  objects.delete('d')
  t.same([objects.leastRecentlyUsed, objects.leastRecentlyUsedFile], [undefined, undefined])
  t.end()
})
