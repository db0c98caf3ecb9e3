/** ETL tests that need no OSS: key templates, dates, taps, options and public types. */
import { PassThrough, Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createGzip, gunzipSync } from 'node:zlib'
import chain from 'stream-chain'
import { none } from 'stream-chain/defs.js'
import t from 'tap'
import { CommitQueue } from '../../src/etl/commit-queue.js'
import { Calendar } from '../../src/etl/date-fields.js'
import { csv, jsonl, rotate, tap, type RotateStream, type TapCounts } from '../../src/etl/index.js'
import { checkRotateOptions } from '../../src/etl/options.js'
import { KeySequences } from '../../src/etl/key-sequence.js'
import { TransformChain } from '../../src/etl/transform-chain.js'
import { KeyTemplate } from '../../src/etl/key-template.js'
import { Spool } from '../../src/index.js'

interface Order {
  id: number
  country: string
  at: number
}

const client = { accessKeyId: 'k', accessKeySecret: 's', region: 'oss-cn-hangzhou', bucket: 'b' }
const spool = new Spool({ client, dir: '/nonexistent/oss-spool' }) // never accessed by these tests

const DATE = new Calendar().fields(Date.UTC(2026, 10, 4, 5, 6, 7))
const FIELDS = { job: 'j', partition: 'DE', date: DATE, seq: 42 }

t.test('a key template fills in its placeholders', t => {
  const key = (template: string): string => new KeyTemplate('key', template).key(FIELDS)
  const template = 'events/dt={yyyy}-{MM}-{dd}/{partition}-{seq:05}.jsonl.gz'
  t.equal(key(template), 'events/dt=2026-11-04/DE-00042.jsonl.gz')
  t.equal(key('{job}/{HH}{mm}{ss}/{seq}{seq:01}'), 'j/050607/4242')
  t.equal(key('plain'), 'plain')
  t.equal(new KeyTemplate('key', 'a/b={job}/{seq}').folder, 'a/')
  t.equal(new KeyTemplate('key', '{job}/a').folder, '')
  t.end()
})

t.test('an invalid key template is rejected', t => {
  const wrong = [
    '{',
    '}',
    '{}',
    '{year}',
    '{seq:5}',
    '{seq:}',
    '{partition:05}',
    '{partition:}',
    '{partition:raw}',
    '{{seq}}',
    '{seq:0999}',
  ]
  for (const template of wrong) {
    t.throws(() => new KeyTemplate('key', template), { code: 'ERR_INVALID_ARG_VALUE' }, template)
  }
  t.throws(() => new KeyTemplate('key', 7), { code: 'ERR_INVALID_ARG_TYPE' })
  t.end()
})

t.test('Calendar returns dates in its time zone', t => {
  const at = (zone: string | undefined, time: Date | number): string => {
    const { yyyy, MM, dd, HH, mm, ss } = new Calendar(zone).fields(time)
    return `${yyyy}-${MM}-${dd} ${HH}:${mm}:${ss}`
  }
  const newYear = Date.UTC(2026, 0, 1, 0, 0, 59, 999)
  t.equal(at(undefined, newYear), '2026-01-01 00:00:59')
  t.equal(at('UTC', new Date(newYear)), '2026-01-01 00:00:59')
  t.equal(at('Asia/Shanghai', newYear), '2026-01-01 08:00:59')
  t.equal(at('America/New_York', newYear), '2025-12-31 19:00:59')
  t.equal(at('Asia/Kathmandu', newYear), '2026-01-01 05:45:59')
  t.equal(
    at('Europe/Berlin', Date.UTC(2026, 2, 29, 1)),
    '2026-03-29 03:00:00',
    'daylight saving time',
  )
  t.equal(
    at('Europe/Berlin', Date.UTC(2026, 2, 28, 23)),
    '2026-03-29 00:00:00',
    'midnight is hour 00',
  )
  t.equal(
    at('Africa/Monrovia', Date.UTC(1971, 5, 1)),
    '1971-05-31 23:15:30',
    'an offset with seconds',
  )
  t.equal(at(undefined, Date.parse('0987-06-05T04:03:02Z')), '0987-06-05 04:03:02')
  t.equal(at(undefined, -1), '1969-12-31 23:59:59')
  const calendar = new Calendar('Asia/Shanghai')
  for (let minute = 0; minute < 3000; minute++) calendar.fields(newYear + minute * 60_000)
  t.match(
    calendar.fields(newYear),
    { HH: '08', ss: '59' },
    'correct after the cache has overflowed',
  )
  for (const time of [Number.NaN, new Date('x'), '2026', undefined, 1e300]) {
    t.throws(() => new Calendar().fields(time), { code: 'ERR_INVALID_ARG_TYPE' }, String(time))
  }
  t.throws(() => new Calendar('Mars/Olympus'), { code: 'ERR_INVALID_ARG_VALUE' })
  t.throws(() => new Calendar(8), { code: 'ERR_INVALID_ARG_TYPE' })
  t.end()
})

t.test('rotate() rejects invalid options before any work, with the right code', t => {
  const good = { job: 'j', key: 'a/{seq}' }
  const wrong: readonly [code: string, options: object][] = [
    ['ERR_INVALID_ARG_TYPE', { job: 1 }],
    ['ERR_INVALID_ARG_VALUE', { job: '' }],
    ['ERR_INVALID_ARG_VALUE', { job: '.j' }],
    ['ERR_INVALID_ARG_VALUE', { job: 'a/b' }],
    ['ERR_INVALID_ARG_VALUE', { job: 'j'.repeat(65) }],
    ['ERR_INVALID_ARG_TYPE', { key: undefined }],
    ['ERR_INVALID_ARG_VALUE', { key: '{nope}' }],
    ['ERR_SPOOL_INVALID_KEY', { key: '' }],
    ['ERR_SPOOL_INVALID_KEY', { key: '/{seq}' }],
    ['ERR_SPOOL_INVALID_KEY', { key: 'a/../{seq}' }],
    ['ERR_INVALID_ARG_VALUE', { key: '{partition}/{seq}' }],
    ['ERR_INVALID_ARG_VALUE', { partitionBy: () => 'x' }],
    ['ERR_INVALID_ARG_VALUE', { key: '{yyyy}/{seq}' }],
    ['ERR_INVALID_ARG_VALUE', { time: () => 0 }],
    ['ERR_INVALID_ARG_TYPE', { key: '{partition}/{seq}', partitionBy: 'country' }],
    ['ERR_INVALID_ARG_VALUE', { key: '{partition:path}/{seq}' }],
    ['ERR_INVALID_ARG_VALUE', { key: 'a', every: { records: 5 } }],
    ['ERR_INVALID_ARG_VALUE', { key: 'a', every: { bytes: 5 } }],
    ['ERR_INVALID_ARG_VALUE', { key: 'a', every: { ms: 5 } }],
    ['ERR_INVALID_ARG_VALUE', { key: 'a', cutBefore: () => true }],
    ['ERR_INVALID_ARG_VALUE', { timeZone: 'Mars/Olympus' }],
    ['ERR_INVALID_ARG_TYPE', { format: 'jsonl' }],
    ['ERR_INVALID_ARG_TYPE', { recordId: 'id' }],
    ['ERR_INVALID_ARG_TYPE', { cutBefore: 1 }],
    ['ERR_INVALID_ARG_TYPE', { every: 5 }],
    ['ERR_INVALID_ARG_VALUE', { every: { hours: 1 } }],
    ['ERR_INVALID_ARG_TYPE', { every: { records: '5' } }],
    ['ERR_OUT_OF_RANGE', { every: { records: 0 } }],
    ['ERR_OUT_OF_RANGE', { every: { bytes: 1.5 } }],
    ['ERR_OUT_OF_RANGE', { every: { ms: 2 ** 31 } }],
    ['ERR_OUT_OF_RANGE', { every: { idleMs: 0 } }],
    ['ERR_INVALID_ARG_VALUE', { key: 'a', every: { idleMs: 5 } }],
    ['ERR_OUT_OF_RANGE', { maxOpen: 0 }],
    ['ERR_OUT_OF_RANGE', { maxOpen: 10_001 }],
    ['ERR_OUT_OF_RANGE', { maxOpenFiles: 1001 }],
    ['ERR_OUT_OF_RANGE', { maxEnding: 1001 }],
    ['ERR_INVALID_ARG_VALUE', { transform: 'brotli' }],
    ['ERR_INVALID_ARG_TYPE', { transform: 7 }],
    ['ERR_INVALID_ARG_VALUE', { manifest: 'm-{seq}' }],
    ['ERR_INVALID_ARG_VALUE', { key: '_manifest-{job}.json' }],
    ['ERR_INVALID_ARG_VALUE', { key: '{job}-{seq:02}', successMarker: 'j-00' }],
    ['ERR_INVALID_ARG_VALUE', { key: '{job}-{seq}', deadLetter: { key: '{job}-0' } }],
    ['ERR_INVALID_ARG_VALUE', { key: '{job}', deadLetter: { key: '{job}' }, commit: { ms: 1 } }],
    ['ERR_SPOOL_INVALID_KEY', { manifest: '/m' }],
    ['ERR_OUT_OF_RANGE', { upload: { partSize: 1 } }],
    ['ERR_INVALID_ARG_VALUE', { upload: { id: 'mine' } }],
    ['ERR_INVALID_ARG_TYPE', { upload: 7 }],
    ['ERR_INVALID_ARG_TYPE', { commit: true }],
    ['ERR_INVALID_ARG_VALUE', { commit: {} }],
    ['ERR_INVALID_ARG_VALUE', { commit: { bytes: 1 } }],
    ['ERR_INVALID_ARG_TYPE', { commit: { ms: '5' } }],
    ['ERR_OUT_OF_RANGE', { commit: { ms: 0 } }],
    ['ERR_OUT_OF_RANGE', { commit: { ms: 2 ** 31 } }],
    ['ERR_OUT_OF_RANGE', { commit: { records: 0 } }],
    ['ERR_INVALID_ARG_VALUE', { commit: { ms: 1 }, manifest: 'm' }],
    ['ERR_INVALID_ARG_VALUE', { commit: { ms: 1 }, transform: () => new PassThrough() }],
    ['ERR_INVALID_ARG_VALUE', { commit: { ms: 1 }, upload: { overwrite: true } }],
    ['ERR_INVALID_ARG_VALUE', { commit: { ms: 1 }, upload: { once: true } }],
  ]
  for (const [code, options] of wrong) {
    const all = { ...good, ...options }
    t.throws(() => rotate(spool, all), { code }, JSON.stringify(options))
  }
  t.throws(() => rotate(spool, undefined as never), { code: 'ERR_INVALID_ARG_TYPE' })
  t.end()
})

t.test('rotate() accepts commit limits', t => {
  const base = { job: 'j', key: '{job}/{seq}', upload: { overwrite: false } }
  const limits = (commit: object): unknown => checkRotateOptions({ ...base, commit }).commit
  t.same(limits({ ms: 5 }), { ms: 5, records: Infinity })
  t.same(limits({ records: 5 }), { ms: undefined, records: 5 })
  t.equal(checkRotateOptions(base).commit, undefined)
  t.end()
})

t.test('a job with commits may use the key that a manifest would have', t => {
  const options = { job: 'j', key: '_manifest-{job}.json', commit: { ms: 1 } }
  const sequences = new KeySequences(checkRotateOptions(options))
  t.equal(sequences.nextKey(sequences.sequenceFor('')), '_manifest-j.json')
  t.end()
})

t.test('zstd is accepted if Node supports it', async t => {
  const zlib: object = await import('node:zlib')
  const make = (): object => rotate(spool, { job: 'j', key: '{seq}', transform: 'zstd' })
  if ('createZstdCompress' in zlib) t.doesNotThrow(make)
  else t.throws(make, { code: 'ERR_INVALID_ARG_VALUE' })
})

t.test('a job never uses a key twice', t => {
  const sequences = new KeySequences(
    checkRotateOptions<string>({
      job: 'j',
      key: '{partition}{seq}',
      partitionBy: record => record,
    }),
  )
  const next = (partition: string): string => sequences.nextKey(sequences.sequenceFor(partition))
  t.equal(next('a'), 'a0')
  t.equal(next('a'), 'a1')
  t.equal(next('a1'), 'a10')
  for (let i = 2; i < 10; i++) t.equal(next('a'), `a${i}`)
  t.throws(() => next('a'), { code: 'ERR_SPOOL_OBJECT_EXISTS', resumable: false })
  const chosen = new KeySequences(
    checkRotateOptions<string>({
      job: 'j',
      key: '{partition}',
      partitionBy: record => record,
      manifest: 'm',
    }),
  )
  t.throws(
    () => chosen.nextKey(chosen.sequenceFor('m')),
    { code: 'ERR_SPOOL_OBJECT_EXISTS' },
    'the key of the manifest is taken',
  )
  t.end()
})

t.test('jsonl writes one line per record and rejects records that JSON cannot represent', t => {
  t.equal(jsonl({ a: 'x\ny', b: undefined }), '{"a":"x\\ny"}\n')
  t.equal(jsonl(null), 'null\n')
  for (const record of [undefined, () => {}, Symbol('s'), 1n])
    t.throws(() => jsonl(record), TypeError)
  t.end()
})

t.test('a tap passes records through and reports at most perSecond times per second', async t => {
  const reports: TapCounts[] = []
  const counter = tap<number>(counts => reports.push(counts), { perSecond: 20 })
  const source = async function* (): AsyncGenerator<number> {
    for (let i = 0; i < 300; i++) {
      yield i
      await new Promise(resolve => setTimeout(resolve, 1))
    }
  }
  const records: number[] = []
  await pipeline(source, counter, async numbers => {
    for await (const n of numbers) records.push(n)
  })
  t.same(records, [...Array(300).keys()])
  t.equal(counter.records, 300)
  const last = reports.at(-1)
  t.match(last, { records: 300, done: true })
  t.ok(reports.length <= (last?.elapsed ?? 0) / 50 + 1, `${reports.length} reports`)
  t.ok(reports.length > 2)
  t.ok(reports.every(({ done }, i) => done === (i === reports.length - 1)))
  t.ok(reports.every(({ rate }) => rate > 0))
})

t.test('a tap handles empty sources, throwing listeners and invalid arguments', async t => {
  const reports: TapCounts[] = []
  await pipeline(Readable.from([]), tap(counts => reports.push(counts)).resume())
  t.same(reports, [{ records: 0, rate: 0, elapsed: 0, done: true }])
  const failure = new Error('no')
  const throwing = tap(() => {
    throw failure
  })
  await t.rejects(pipeline(Readable.from([1]), throwing.resume()), failure)
  t.throws(() => tap(1 as never), { code: 'ERR_INVALID_ARG_TYPE' })
  t.throws(() => tap(() => {}, { perSecond: 0 }), { code: 'ERR_OUT_OF_RANGE' })
  t.throws(() => tap(() => {}, { perSecond: '1' as never }), { code: 'ERR_INVALID_ARG_TYPE' })
  t.throws(() => tap(() => {}, { persecond: 1 } as object), { code: 'ERR_INVALID_ARG_VALUE' })
})

t.test('TransformChain output per batch depends on the bytes alone, not on timing', async t => {
  const text = Array.from({ length: 40_000 }, (_, i) => `${i * 7919},${i % 13}\n`).join('')
  const batches = Array.from({ length: 8 }, (_, i) =>
    Buffer.from(text.slice(i * 50_000, (i + 1) * 50_000)),
  )
  const sizes = async (noise: () => Promise<unknown>): Promise<number[]> => {
    const stages = new TransformChain(() => [
      new PassThrough({ highWaterMark: 100 }),
      createGzip({ chunkSize: 1024 }),
      createGzip(),
    ])
    const all: number[] = []
    for (const batch of batches) {
      const out = await stages.write([batch])
      all.push(out.reduce((sum, chunk) => sum + chunk.length, 0))
      await noise()
    }
    const rest = await stages.end()
    return [...all, rest.reduce((sum, chunk) => sum + chunk.length, 0)]
  }
  const quick = await sizes(async () => {})
  t.ok(quick.some(size => size > 0))
  t.same(await sizes(() => new Promise(resolve => setTimeout(resolve, 10))), quick)
})

t.test('TransformChain reports failures before, during and after a batch', async t => {
  const failure = new Error('no')
  const failing = (at: 'transform' | 'flush'): TransformChain => {
    const stream = createGzip()
    stream[at === 'flush' ? '_flush' : '_transform'] = (...args: unknown[]) =>
      (args.at(-1) as (error: Error) => void)(failure)
    return new TransformChain(() => [stream])
  }
  await t.rejects(failing('transform').write([Buffer.from('x')]), failure)
  await t.rejects(failing('flush').end(), failure)
  const stages = failing('transform')
  await stages.write([Buffer.from('x')]).catch(() => {})
  await t.rejects(stages.write([Buffer.from('x')]), failure)
  const stuck = new TransformChain(() => [new PassThrough({ transform: () => {} })])
  const writing = stuck.write([Buffer.from('x')])
  stuck.destroy()
  await t.rejects(writing)
  await t.rejects(stuck.end())
})

/** Never called. Must compile, except for the lines marked with `@ts-expect-error`. */
function types(): void {
  const options = { job: 'j', key: '{seq}' }
  const orders: RotateStream<Order> = rotate<Order>(spool, { ...options, format: jsonl })
  const typed: (order: Order) => string = order => order.country
  rotate(spool, { ...options, key: '{partition}-{seq}', partitionBy: typed, format: jsonl })
  // @ts-expect-error -- an order has no such property
  rotate<Order>(spool, { ...options, partitionBy: order => order.nation, format: jsonl })
  // @ts-expect-error -- objects need a format
  rotate<Order>(spool, options)
  const texts: RotateStream<string | Uint8Array> = rotate(spool, options)
  rotate<string>(spool, options)
  // @ts-expect-error -- the job sets the id of an upload
  rotate(spool, { ...options, upload: { id: 'x' } })

  const row = (line: string): Order => ({ id: line.length, country: 'DE', at: 0 })
  const keep = (order: Order): Order | typeof none => (order.id > 0 ? order : none)
  chain([row, tap<Order>(), orders] as const)
  chain([row, keep, orders] as const)
  // @ts-expect-error -- the chain outputs numbers, the sink takes orders
  chain([(line: string) => line.length, orders] as const)
  // @ts-expect-error -- the chain outputs orders, the sink takes text
  chain([row, texts] as const)
  // @ts-expect-error -- the tap takes numbers, the step before it returns orders
  chain([row, tap<number>(), orders] as const)
  orders.on('object', ({ key, records }) => key.repeat(records))
  void orders.result.then(({ objects }) => objects.map(({ crc64 }) => crc64.length))
  void csv<Order>().then(format => rotate<Order>(spool, { ...options, format }))
}

t.test('record types are checked at compile time', t => {
  t.type(types, 'function')
  t.end()
})

t.test('a commit queue runs one commit at a time and serves the calls that it covers', async t => {
  const runs: ((records: number) => void)[] = []
  const commit = (): Promise<number> => new Promise(resolve => runs.push(resolve))
  const durable: number[] = []
  const failures: unknown[] = []
  const queue = new CommitQueue({ records: 10, ms: undefined }, commit, {
    onCommit: records => durable.push(records),
    onFailure: error => failures.push(error),
  })
  await queue.request(0)
  t.equal(runs.length, 0, 'nothing to commit')
  t.equal(queue.untilDue, 10)
  const later = queue.request(5)
  queue.add(4)
  t.equal(queue.untilDue, 6)
  t.equal(runs.length, 0, 'the call waits for its records')
  queue.add(1)
  t.equal(runs.length, 1)
  const shared = [queue.request(6), queue.request(7)]
  queue.add(2)
  queue.add(8)
  t.equal(queue.untilDue, Infinity, 'a commit is due when the current one is done')
  t.equal(runs.length, 1)
  runs[0]?.(5)
  await later
  t.equal(runs.length, 2)
  runs[1]?.(15)
  await Promise.all(shared)
  t.equal(runs.length, 2, 'one commit serves all')
  t.same(durable, [5, 15])
  queue.add(10)
  t.equal(runs.length, 3)
  const never = queue.request(26)
  const failure = new Error('no')
  queue.fail(failure)
  await t.rejects(never, failure)
  await t.rejects(queue.request(25), failure)
  await queue.request(15)
  queue.add(100)
  t.equal(runs.length, 3, 'no commit starts after the end')
  t.same(failures, [])
})

t.test('a failed commit is reported once, and none follows', async t => {
  const failure = new Error('no')
  const failures: unknown[] = []
  let runs = 0
  const commit = (): Promise<number> => {
    runs++
    return Promise.reject(failure)
  }
  const queue = new CommitQueue({ records: 1, ms: 1 }, commit, {
    onCommit: () => {},
    onFailure: error => failures.push(error),
  })
  queue.add(1)
  const call = queue.request(1)
  await queue.idle()
  queue.add(1)
  await queue.idle()
  t.same(failures, [failure])
  t.equal(runs, 1)
  queue.fail(failure)
  await t.rejects(call, failure)
})

t.test('a transform chain starts new transforms after end()', async t => {
  let created = 0
  const gzips = new TransformChain(() => {
    created++
    return [createGzip()]
  })
  const members: Buffer[] = []
  for (const text of ['a', 'b']) {
    members.push(...(await gzips.write([Buffer.from(text)])), ...(await gzips.end()))
    t.same(await gzips.end(), [], 'nothing was written since')
  }
  t.equal(created, 2)
  t.equal(String(gunzipSync(Buffer.concat(members))), 'ab')
})
