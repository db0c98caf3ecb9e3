/**
 * `rotate({ commit })` and its `commit()`: records that cannot be read again are durable before the object ends,
 * as whole records and whole gzip members.
 */
import { once } from 'node:events'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { gunzipSync } from 'node:zlib'
import t from 'tap'
import { csv, jsonl, rotate, type RotateOptions, type RotateStream } from '../../src/etl/index.js'
import type { UploadOptions } from '../../src/index.js'
import { bench, bytes, type Bench } from '../support/oss.js'
import { unpackers } from '../support/unpack.js'

interface Row {
  readonly id: number
  readonly of: string
}

const row = (id: number): Row => ({ id, of: 'ABC'[id % 3] ?? '' })
const rows = (count: number, from = 0): Row[] =>
  Array.from({ length: count }, (_, i) => row(from + i))
const idsOf = (content: Buffer | undefined): number[] =>
  String(content ?? '')
    .split('\n')
    .filter(line => line !== '')
    .map(line => (JSON.parse(line) as Row).id) // written by `jsonl`

const NEVER = { ms: 2 ** 31 - 1 }
/** Opens a sink whose errors are expected. */
function open(b: Bench, options: Partial<RotateOptions<Row>> = {}): RotateStream<Row> {
  const sink = rotate<Row>(b.spool, {
    job: 'job',
    key: '{job}/{partition}-{seq}',
    partitionBy: ({ of }) => of,
    format: jsonl,
    commit: NEVER,
    ...options,
  })
  sink.on('error', () => {})
  return sink
}

function writeAll(sink: RotateStream<Row>, records: Iterable<Row>): void {
  for (const record of records) sink.write(record)
}

/** Destroys a sink as a crash of its source would, and resolves when it is closed. */
async function failWith(sink: RotateStream<Row>, error = new Error('cut')): Promise<void> {
  const closed = closing(sink)
  sink.destroy(error)
  await closed
}

/** Resolves when a sink is closed, also by an error. */
function closing(sink: RotateStream<Row>): Promise<void> {
  return new Promise(resolve => (sink.closed ? resolve() : sink.on('close', resolve)))
}

/** Publishes what was committed, as a new process would. Returns the keys. */
async function resumeAll(b: Bench): Promise<string[]> {
  const keys: string[] = []
  for (const { id, key, resumable } of await b.another().uploads()) {
    if (!resumable) continue
    await b.another().resume(id)
    keys.push(key)
  }
  return keys.toSorted()
}

for (const [name, unpack] of unpackers) {
  const compression = name === 'none' ? {} : { transform: name }

  t.test(`commit() makes every open object durable up to whole records (${name})`, async t => {
    const b = await bench(t)
    const sink = open(b, compression)
    writeAll(sink, rows(100))
    await sink.commit()
    writeAll(sink, rows(50, 100))
    await sink.commit()
    writeAll(sink, rows(1000, 150)) // not committed
    await sleep(50)
    await failWith(sink)
    t.same(await resumeAll(b), ['job/A-0', 'job/B-0', 'job/C-0'])
    for (const [i, of] of ['A', 'B', 'C'].entries()) {
      const content = await b.get(`job/${of}-0`)
      const expected = rows(150).filter(({ id }) => id % 3 === i)
      t.same(
        idsOf(unpack(content ?? Buffer.alloc(0))),
        expected.map(({ id }) => id),
        of,
      )
    }
    t.same(await b.another().uploads(), [])
  })

  t.test(`an object that was committed and ended is complete (${name})`, async t => {
    const b = await bench(t)
    const sink = open(b, { ...compression, commit: { records: 7 }, every: { records: 100 } })
    await pipeline(rows(1000), sink)
    const { objects, records } = await sink.result
    t.equal(records, 1000)
    t.equal(objects.length, 12)
    const ids: number[] = []
    for (const { key, size, records: count } of objects) {
      const content = (await b.get(key)) ?? Buffer.alloc(0)
      t.equal(content.length, size)
      const own = idsOf(unpack(content))
      t.equal(own.length, count)
      ids.push(...own)
    }
    t.same(
      ids.toSorted((a, b) => a - b),
      [...Array(1000).keys()],
    )
    t.equal(b.count('PutObject'), 12, 'there is no manifest')
    t.same(await b.spool.uploads({ receipts: true }), [], 'there are no receipts')
  })
}

t.test('a header is written once, before the first commit', async t => {
  const b = await bench(t)
  const sink = open(b, {
    format: await csv<Row>(),
    transform: 'gzip',
    key: 'x',
    partitionBy: undefined as never,
  })
  for (const id of [0, 1, 2]) {
    sink.write(row(id))
    await sink.commit()
  }
  await failWith(sink)
  await resumeAll(b)
  t.equal(String(gunzipSync((await b.get('x')) ?? bytes(0))), 'id,of\n0,A\n1,B\n2,C\n')
})

t.test(
  'commit() covers buffered and corked records, and concurrent calls share commits',
  async t => {
    const b = await bench(t)
    const sink = open(b, { transform: 'gzip', key: 'x', partitionBy: undefined as never })
    const durable: number[] = []
    sink.on('commit', records => durable.push(records))
    const commits: Promise<void>[] = []
    sink.cork()
    for (const each of rows(300)) {
      sink.write(each)
      commits.push(sink.commit())
    }
    sink.uncork()
    await Promise.all(commits)
    await failWith(sink)
    t.ok(durable.length <= 2, `${durable.length} commits`)
    t.equal(durable.at(-1), 300)
    await resumeAll(b)
    t.same(idsOf(gunzipSync((await b.get('x')) ?? bytes(0))), [...Array(300).keys()])
  },
)

t.test('commit() without new records starts no commit', async t => {
  const b = await bench(t)
  const sink = open(b)
  const durable: number[] = []
  sink.on('commit', records => durable.push(records))
  await sink.commit()
  writeAll(sink, rows(3))
  await sink.commit()
  const before = await b.spool.uploads()
  await Promise.all([sink.commit(), sink.commit()])
  sink.write(row(0))
  await sink.commit()
  const after = await b.spool.uploads()
  const committed = (all: typeof before): number[] =>
    all.toSorted((x, y) => (x.key < y.key ? -1 : 1)).map(each => each.committed ?? -1)
  t.same(committed(before), [18, 18, 18])
  t.same(committed(after), [36, 18, 18])
  t.same(durable, [3, 4])
  await failWith(sink)
})

t.test('commits start after `records` records, however many are written at once', async t => {
  const b = await bench(t)
  const sink = open(b, { commit: { records: 10 } })
  const durable: number[] = []
  sink.on('commit', records => durable.push(records))
  writeAll(sink, rows(9))
  await sleep(100)
  t.same(durable, [])
  sink.cork()
  writeAll(sink, rows(500, 9))
  sink.uncork()
  await sink.commit()
  t.equal(durable[0], 10)
  await failWith(sink)
})

t.test('commits start `ms` after the first record, and not without records', async t => {
  const b = await bench(t)
  const sink = open(b, { commit: { ms: 50 } })
  let commits = 0
  sink.on('commit', () => commits++)
  for (const id of [0, 1, 2]) {
    sink.write(row(id))
    t.same(await once(sink, 'commit'), [id + 1])
  }
  await sleep(200)
  t.equal(commits, 3)
  await failWith(sink)
  t.equal((await resumeAll(b)).length, 3)
})

t.test('closed and published objects count as durable', async t => {
  const b = await bench(t)
  const sink = open(b, { every: { records: 2 } })
  writeAll(sink, rows(12))
  await sink.commit()
  while (b.count('PutObject') < 6) await sleep(5)
  await sink.commit()
  sink.write(row(12))
  await sink.commit()
  sink.end()
  await sink.commit()
  t.equal((await sink.result).records, 13)
  await sink.commit()
})

t.test('commit() resolves while OSS is away, also after end()', async t => {
  const b = await bench(t, { spool: { retry: { attempts: 1000, minDelay: 1, maxDelay: 20 } } })
  b.oss.inject({ do: 'reset', at: 'start', times: 'always' })
  const sink = open(b, { every: { records: 4 } })
  writeAll(sink, rows(15))
  await sink.commit()
  sink.write(row(15))
  sink.end()
  await sink.commit()
  await failWith(sink)
  await sink.commit() // it was durable already
  await t.rejects(sink.result, { code: 'ERR_SPOOL_SOURCE_FAILED' })
  b.oss.clearFaults()
  await resumeAll(b)
  const contents = await Promise.all(
    ['A-0', 'A-1', 'B-0', 'B-1', 'C-0', 'C-1'].map(key => b.get(`job/${key}`)),
  )
  t.same(
    contents.flatMap(idsOf).toSorted((x, y) => x - y),
    [...Array(16).keys()],
  )
})

t.test('commit() rejects with the error that ended the job, unless it was durable', async t => {
  const b = await bench(t)
  const sink = open(b, { every: { records: 100 } })
  writeAll(sink, rows(10))
  const early = sink.commit()
  await early
  writeAll(sink, rows(10, 10))
  const failure = new Error('cut')
  sink.destroy(failure)
  const during = sink.commit()
  const expected = { code: 'ERR_SPOOL_SOURCE_FAILED', cause: failure }
  await t.rejects(during, expected)
  await t.rejects(sink.commit(), expected)
  await t.rejects(sink.result, expected)

  const refused = open(b, { job: 'refused', every: { records: 1 } })
  b.oss.inject({ do: 'answer', status: 403, code: 'AccessDenied', times: 'always' })
  const failed = closing(refused)
  writeAll(refused, rows(3))
  await failed
  await t.rejects(refused.result, { code: 'ERR_SPOOL_DENIED', resumable: true })
  refused.write(row(3))
  await t.rejects(refused.commit(), { code: 'ERR_SPOOL_DENIED' })
  const broken = open(b, { format: () => Buffer.from('x'), partitionBy: () => Number.NaN })
  void broken.commit()
  broken.write(row(0))
  await t.rejects(broken.commit(), { code: 'ERR_INVALID_ARG_VALUE' })
})

t.test('commit() rejects with a TypeError without the option', async t => {
  const b = await bench(t)
  const sink = rotate<Row>(b.spool, { job: 'j', key: '{seq}', format: jsonl })
  void sink.commit()
  await t.rejects(sink.commit(), TypeError)
  await pipeline(rows(1), sink)
})

t.test('commit() does not depend on the defaults of the spool', async t => {
  const b = await bench(t)
  const defaults: UploadOptions = { once: true, replay: 'offset', overwrite: true }
  const sink = rotate<Row>(b.another(defaults), {
    job: 'j',
    key: '{seq}',
    format: jsonl,
    commit: NEVER,
  })
  sink.write(row(0))
  await sink.commit()
  sink.end()
  t.match(await sink.result, { records: 1 })
  t.same(await b.spool.uploads({ receipts: true }), [])
})

t.test('a run with a job name that was used before replaces nothing', async t => {
  const b = await bench(t)
  const crashed = open(b)
  crashed.write(row(0))
  await crashed.commit()
  await failWith(crashed)
  const again = open(b)
  again.write(row(3))
  await again.commit()
  again.end()
  await again.result
  t.same(idsOf(await b.get('job/A-0')), [3])
  const [left] = await b.another().uploads()
  t.match(left, { key: 'job/A-0', resumable: true })
  const id = left?.id ?? ''
  await t.rejects(b.another().resume(id), { code: 'ERR_SPOOL_OBJECT_EXISTS' })
  t.same(idsOf(await b.get('job/A-0')), [3])
  t.match(await b.another().uploads(), [{ id, committed: 18 }], 'the committed bytes are kept')
})

t.test('commits and a slow OSS do not stop records of other objects', async t => {
  const b = await bench(t, { spool: { maxSpoolBytes: 1_000_000 } })
  const sink = open(b, { transform: 'gzip', commit: { records: 50 }, every: { bytes: 200_000 } })
  const wide = Array.from({ length: 3000 }, (_, id) => ({
    ...row(id),
    text: bytes(500).toString('base64'),
  }))
  await pipeline(Readable.from(wide), sink)
  const { objects } = await sink.result
  const ids: number[] = []
  for (const { key } of objects) ids.push(...idsOf(gunzipSync((await b.get(key)) ?? bytes(0))))
  t.same(
    ids.toSorted((x, y) => x - y),
    [...Array(3000).keys()],
  )
})

t.test('no record is acknowledged that a failed object refused', async t => {
  const b = await bench(t)
  const first = open(b, { partitionBy: () => 'A' })
  first.end(row(0))
  await first.result
  for (let run = 0; run < 4; run++) {
    const sink = open(b, { partitionBy: () => 'A', commit: { records: 1 } })
    let acknowledged = 0
    for (let id = 0; id < 400; id++) {
      if (!sink.write(row(id)) && !sink.destroyed) {
        await Promise.race([once(sink, 'drain'), closing(sink)])
      }
      if (id % 10 === 9) {
        await sink.commit().then(
          () => (acknowledged = id + 1),
          () => undefined,
        )
      }
    }
    await failWith(sink)
    const kept = (await b.another().uploads()).reduce(
      (sum, { committed = 0, size = 0 }) => Math.max(sum, committed, size),
      0,
    )
    const text = Array.from({ length: acknowledged }, (_, id) => `${JSON.stringify(row(id))}\n`)
    t.ok(kept >= text.join('').length, `${acknowledged} acknowledged, ${kept} bytes kept`)
    for (const { id } of await b.another().uploads()) await b.another().abort(id)
  }
})

t.test('commit() rejects after a record that came too late', async t => {
  const b = await bench(t)
  const sink = open(b)
  sink.write(row(0))
  await sink.commit()
  await failWith(sink)
  await sink.commit()
  sink.write(row(1))
  await t.rejects(sink.commit())
})
