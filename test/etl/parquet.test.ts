/** `parquet()`: files read back by other readers, row groups, bad records, refused options, and reruns. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import * as zlib from 'node:zlib'
import { DuckDBInstance } from '@duckdb/node-api'
import { parquetMetadata, parquetReadObjects } from 'hyparquet'
import { compressors } from 'hyparquet-compressors'
import { ParquetWriter } from 'hyparquet-writer'
import t, { type Test } from 'tap'
import {
  parquet,
  rotate,
  type Manifest,
  type ObjectFormat,
  type ParquetCodec,
  type ParquetOptions,
} from '../../src/etl/index.js'
import { pathOf } from '../support/project.js'
import { sampled } from '../support/long.js'
import { bench, BUCKET, bytes, type Bench } from '../support/oss.js'

/** One column of each type, and some optional ones. */
const schema = {
  text: 'string',
  int: 'int32',
  long: 'int64',
  double: 'double',
  flag: 'boolean',
  moment: 'timestamp',
  day: 'date',
  small: 'decimal(9,2)',
  medium: 'decimal(18,3)',
  large: 'decimal(38,10)',
  json: 'json',
  uuid: 'uuid',
  bytes: 'bytes',
  note: { type: 'string', optional: true },
  ratio: { type: 'double', optional: true },
} as const satisfies ParquetOptions['schema']

function row(id: number) {
  return {
    text: `é😀 ${id % 5}`,
    int: -id,
    long: 2n ** 63n - 1n - BigInt(id),
    double: id / 3,
    flag: id % 2 === 0,
    moment: new Date(Date.UTC(2026, 10, 24, 8, 0, id)),
    day: '2026-02-28',
    small: `${id}.25`,
    medium: BigInt(id),
    large: `-${id}234567890123456789.0000000001`,
    json: { id, tags: ['a', null] },
    uuid: `0e984725-c51c-4bf4-9960-e1c80e27${String(id).padStart(4, '0')}`,
    bytes: Buffer.from([id, 255]),
    ...(id % 2 === 0 ? { note: 'even' } : { ratio: 0.5 }),
  }
}

function toArrayBuffer(content: Uint8Array): ArrayBuffer {
  return new Uint8Array(content).buffer
}

/** Encodes records as one file, and keeps what each call returned. */
function encode(format: ObjectFormat<object>, records: Iterable<object>) {
  const encoder = format.createEncoder({})
  const parts = [...records].map(record => Buffer.from(encoder.add(record) ?? ''))
  const end = Buffer.from(encoder.end() ?? '')
  return { parts, end, file: Buffer.concat([...parts, end]) }
}

function rowGroupsOf(file: Uint8Array): number[] {
  return parquetMetadata(toArrayBuffer(file)).row_groups.map(({ num_rows: rows }) => Number(rows))
}

const ids = (count: number) => Array.from({ length: count }, (_, id) => row(id))

const hasZstd = 'zstdCompressSync' in zlib
const codecs: ParquetCodec[] = ['snappy', 'gzip', 'none', ...(hasZstd ? ['zstd' as const] : [])]

for (const codec of codecs) {
  t.test(`hyparquet reads what ${codec} has written`, async t => {
    const { file } = encode(await parquet({ schema, codec, rowGroup: 20 }), ids(50))
    const options = { file: toArrayBuffer(file), compressors, utf8: false }
    const records = await parquetReadObjects(options)
    t.equal(records.length, 50)
    t.match(records[7], {
      text: 'é😀 2',
      int: -7,
      long: 2n ** 63n - 8n,
      double: 7 / 3,
      flag: false,
      moment: new Date(Date.UTC(2026, 10, 24, 8, 0, 7)),
      day: new Date(Date.UTC(2026, 1, 28)),
      small: 7.25,
      medium: 7,
      json: { id: 7, tags: ['a', null] },
      uuid: '0e984725-c51c-4bf4-9960-e1c80e270007',
      bytes: new Uint8Array([7, 255]),
      note: null,
      ratio: 0.5,
    })
    t.same(
      records.map(({ int }) => Number(int)),
      ids(50).map(({ int }) => int),
    )
  })
}

t.test('zstd is refused where Node does not have it', { skip: hasZstd }, async t => {
  await t.rejects(parquet({ schema, codec: 'zstd' }), { code: 'ERR_INVALID_ARG_VALUE' })
})

t.test('DuckDB reads types and values, and finds them by their statistics', async t => {
  const { file } = encode(await parquet({ schema, rowGroup: 20 }), ids(50))
  const dir = await mkdtemp(join(tmpdir(), 'oss-spool-parquet-'))
  t.teardown(() => rm(dir, { recursive: true, force: true }))
  const path = join(dir, 'rows.parquet')
  await writeFile(path, file)
  const instance = await DuckDBInstance.create(':memory:')
  const connection = await instance.connect()
  t.teardown(() => {
    connection.closeSync()
    instance.closeSync()
  })
  const query = async (sql: string) => {
    const reader = await connection.runAndReadAll(sql.replace('ROWS', `'${path}'`))
    return { types: reader.columnTypes().map(String), rows: reader.getRowObjectsJson() }
  }
  await connection.run(`set timezone = 'UTC'`)
  const { types, rows } = await query('select * from ROWS where int = -7')
  const expected = {
    text: ['VARCHAR', 'é😀 2'],
    int: ['INTEGER', -7],
    long: ['BIGINT', String(2n ** 63n - 8n)],
    double: ['DOUBLE', 7 / 3],
    flag: ['BOOLEAN', false],
    moment: ['TIMESTAMP WITH TIME ZONE', '2026-11-24 08:00:07+00'],
    day: ['DATE', '2026-02-28'],
    small: ['DECIMAL(9,2)', '7.25'],
    medium: ['DECIMAL(18,3)', '7.000'],
    large: ['DECIMAL(38,10)', '-7234567890123456789.0000000001'],
    json: [/^(JSON|VARCHAR)$/, '{"id":7,"tags":["a",null]}'],
    uuid: ['UUID', '0e984725-c51c-4bf4-9960-e1c80e270007'],
    bytes: ['BLOB', String.raw`\x07\xFF`],
    note: ['VARCHAR', null],
    ratio: ['DOUBLE', 0.5],
  } satisfies Record<keyof typeof schema, readonly [unknown, unknown]>
  t.match(
    types,
    Object.values(expected).map(([type]) => type),
  )
  const values = Object.entries(expected).map(([name, [, value]]) => [name, value])
  t.strictSame(rows, [Object.fromEntries(values)])
  const conditions = [
    `text = 'é😀 2'`,
    'long = 9223372036854775800',
    'double > 2.3 and double < 2.4',
    `moment = '2026-11-24 08:00:07+00'`,
    `day = '2026-02-28'`,
    'small = 7.25',
    'medium = 7',
    'large = -7234567890123456789.0000000001',
    `uuid = '0e984725-c51c-4bf4-9960-e1c80e270007'`,
    String.raw`bytes = '\x07\xFF'::blob`,
    'note is null',
    'ratio is not null',
  ]
  for (const condition of conditions) {
    const found = await query(`select count(*) as n from ROWS where int = -7 and ${condition}`)
    t.strictSame(found.rows, [{ n: '1' }], condition)
  }
  const sums = await query(
    'select count(*) as n, sum(small)::varchar as s, count(note) as e from ROWS',
  )
  t.strictSame(sums.rows, [{ n: '50', s: '1237.50', e: '25' }])
})

t.test('an encoder holds at most one row group and hands out its bytes at once', async t => {
  const format = await parquet({ schema: { id: 'int32' }, rowGroup: 100 })
  const { parts, end, file } = encode(
    format,
    Array.from({ length: 1050 }, (_, id) => ({ id })),
  )
  t.same(rowGroupsOf(file), [...Array<number>(10).fill(100), 50])
  const filled = parts.flatMap((part, i) => (part.length > 0 ? [i + 1] : []))
  t.same(filled, [100, 200, 300, 400, 500, 600, 700, 800, 900, 1000])
  for (const [i, group] of parquetMetadata(toArrayBuffer(file)).row_groups.entries()) {
    const start = Number(group.columns[0]?.meta_data?.data_page_offset)
    const before = Buffer.concat(parts.slice(0, i * 100)).length
    t.ok(start >= before, `row group ${i} begins after the bytes of the ones before`)
    if (i < 10) t.ok(start < Buffer.concat(parts.slice(0, i * 100 + 100)).length)
  }
  t.ok(end.length > 0)
})

t.test('a row group of large values ends before rowGroup records', async t => {
  const format = await parquet({ schema: { data: 'bytes' } })
  const data = bytes(2 ** 20)
  const { file } = encode(
    format,
    Array.from({ length: 40 }, () => ({ data })),
  )
  t.same(rowGroupsOf(file), [16, 16, 8])
})

t.test('row groups of a job end early when all of them hold 256 MiB', async t => {
  const format = await parquet({ schema: { text: 'string' } })
  const [job, otherJob] = [{}, {}]
  const text = 'x'.repeat(2 ** 20) // counts as 2 MiB, and is held once
  const encoders = Array.from({ length: 140 }, () => format.createEncoder(job))
  const returned = encoders.map(encoder => encoder.add({ text }) !== undefined)
  t.same(returned, [...Array<boolean>(127).fill(false), ...Array<boolean>(13).fill(true)])
  const small = format.createEncoder(job)
  encoders[0]?.add({ text: '' })
  t.equal(small.add({ text: 'small' }), undefined, 'a small row group goes on')
  t.equal(format.createEncoder(otherJob).add({ text }), undefined, 'another job has its own memory')
  for (const encoder of encoders.slice(0, 100)) encoder.end()
  t.equal(format.createEncoder(job).add({ text }), undefined, 'ended objects release theirs')
})

t.test('the values of a record are taken when it is added', async t => {
  const format = await parquet({ schema: { data: 'bytes', json: 'json' }, codec: 'none' })
  const record = { data: Buffer.from('before'), json: { is: 'before' } }
  const encoder = format.createEncoder({})
  t.equal(encoder.add(record), undefined)
  record.data.write('after!')
  record.json.is = 'after'
  const file = toArrayBuffer(Buffer.from(encoder.end() ?? ''))
  const [read] = await parquetReadObjects({ file, utf8: false })
  t.same(read, { data: new Uint8Array(Buffer.from('before')), json: { is: 'before' } })
})

t.test('a file without records has the schema and no rows', async t => {
  const { file } = encode(await parquet({ schema }), [])
  const metadata = parquetMetadata(toArrayBuffer(file))
  t.equal(Number(metadata.num_rows), 0)
  t.same(
    metadata.schema.slice(1).map(({ name }) => name),
    Object.keys(schema),
  )
})

t.test('a record that is refused leaves nothing in the file', async t => {
  const format = await parquet({ schema, rowGroup: 2 })
  const encoder = format.createEncoder({})
  const parts = [encoder.add(row(0))]
  t.throws(() => encoder.add({ ...row(1), ratio: 'x' }), { name: 'TypeError' })
  t.throws(() => encoder.add({ ...row(1), other: 1 }), { name: 'TypeError' })
  parts.push(encoder.add(row(2)), encoder.end())
  const file = Buffer.concat(parts.map(part => Buffer.from(part ?? '')))
  t.same(file, encode(format, [row(0), row(2)]).file)
})

t.test('invalid options reject with an error in the form of Node', async t => {
  const wrong: [options: object | undefined, code: string][] = [
    [undefined, 'ERR_INVALID_ARG_TYPE'],
    [{}, 'ERR_INVALID_ARG_TYPE'],
    [{ schema: {} }, 'ERR_INVALID_ARG_VALUE'],
    [{ schema: { '': 'string' } }, 'ERR_INVALID_ARG_VALUE'],
    [{ schema: { '\ud800': 'string' } }, 'ERR_INVALID_ARG_VALUE'],
    [{ schema: { a: 'text' } }, 'ERR_INVALID_ARG_VALUE'],
    [{ schema: { a: undefined } }, 'ERR_INVALID_ARG_VALUE'],
    [{ schema: { a: 'decimal(40,2)' } }, 'ERR_INVALID_ARG_VALUE'],
    [{ schema: { a: { type: 'toString' } } }, 'ERR_INVALID_ARG_VALUE'],
    [{ schema: { a: { optional: true } } }, 'ERR_INVALID_ARG_VALUE'],
    [{ schema: { a: { type: 'string', optional: 1 } } }, 'ERR_INVALID_ARG_TYPE'],
    [{ schema: { a: { type: 'string', nullable: true } } }, 'ERR_INVALID_ARG_VALUE'],
    [{ schema, rowgroup: 5 }, 'ERR_INVALID_ARG_VALUE'],
    [{ schema, rowGroup: 0 }, 'ERR_OUT_OF_RANGE'],
    [{ schema, rowGroup: 1e7 }, 'ERR_OUT_OF_RANGE'],
    [{ schema, rowGroup: '5' }, 'ERR_INVALID_ARG_TYPE'],
    [{ schema, codec: 'lz4' }, 'ERR_INVALID_ARG_VALUE'],
    [{ schema, codec: 'toString' }, 'ERR_INVALID_ARG_VALUE'],
    [{ schema, extraColumns: 'keep' }, 'ERR_INVALID_ARG_VALUE'],
  ]
  for (const [options, code] of wrong) {
    await t.rejects(parquet(options as ParquetOptions), { code }, JSON.stringify(options))
  }
})

t.test('rotate writes one file per object', async t => {
  const work = await bench(t)
  const format = await parquet({ schema, rowGroup: 10 })
  const sink = rotate<ReturnType<typeof row>>(work.spool, {
    job: 'job',
    key: '{partition}/{seq}.parquet',
    partitionBy: ({ flag }) => (flag ? 'even' : 'odd'),
    format,
    every: { records: 15 },
  })
  await pipeline(ids(50), sink)
  const { objects } = await sink.result
  t.same(
    objects.map(({ records }) => records),
    [15, 15, 10, 10],
  )
  for (const { key, records, size } of objects) {
    const content = (await work.get(key)) ?? Buffer.alloc(0)
    t.equal(content.length, size)
    t.same(rowGroupsOf(content), records === 15 ? [10, 5] : [10])
  }
})

t.test('a bad record is named, or skipped without a trace in its file', async t => {
  const work = await bench(t)
  const format = await parquet({ schema: { id: 'int32' }, rowGroup: 2 })
  const records = [{ id: 'first' }, { id: 1 }, { id: 2 }, { id: 3.5 }, { id: 4 }, { ID: 5 }]
  const failing = rotate<object>(work.spool, { job: 'failing', key: '{job}.parquet', format })
  await t.rejects(pipeline(records, failing), { message: /'id'/ })
  t.equal(await work.get('failing.parquet'), undefined)
  const skipping = rotate<object>(work.spool, {
    job: 'skipping',
    key: '{job}.parquet',
    format,
    onBadRecord: () => 'skip',
  })
  await pipeline(records, skipping)
  const { objects } = await skipping.result
  t.match(objects, [{ key: 'skipping.parquet', records: 3 }])
  const file = toArrayBuffer((await work.get('skipping.parquet')) ?? Buffer.alloc(0))
  t.same(await parquetReadObjects({ file }), [{ id: 1 }, { id: 2 }, { id: 4 }])
})

t.test(
  'a row group that could not be written fails the job, although bad records are skipped',
  async t => {
    const work = await bench(t)
    // oxlint-disable-next-line typescript/unbound-method -- it is called with its file
    const { write } = ParquetWriter.prototype
    t.teardown(() => void (ParquetWriter.prototype.write = write))
    ParquetWriter.prototype.write = function (...args) {
      ParquetWriter.prototype.write = write
      write.apply(this, args) // the writer's state is what it is in the middle of a file
      throw new RangeError('Array buffer allocation failed')
    }
    const job = rotate<object>(work.spool, {
      job: 'damaged',
      key: '{job}.parquet',
      format: await parquet({ schema: { id: 'int32' }, rowGroup: 2 }),
      onBadRecord: () => 'skip',
    })
    const records = [{ id: 1 }, { id: 2 }, { id: 3 }]
    await t.rejects(pipeline(records, job), { message: /allocation failed/ })
    t.equal(await work.get('damaged.parquet'), undefined)
  },
)

t.test('every.bytes ends an object with the row group that reaches it', async t => {
  const work = await bench(t)
  const format = await parquet({ schema: { id: 'int32' }, rowGroup: 10, codec: 'none' })
  const options = { job: 'job', key: '{seq}.parquet', format, every: { bytes: 100 } }
  const sink = rotate<{ id: number }>(work.spool, options)
  await pipeline(
    Array.from({ length: 50 }, (_, id) => ({ id })),
    sink,
  )
  const { objects } = await sink.result
  t.same(
    objects.map(({ records }) => records),
    [20, 20, 10],
  )
})

t.test('commit and transform exclude Parquet', async t => {
  const work = await bench(t)
  const format = await parquet({ schema })
  const options = { job: 'job', key: '{job}-{seq}.parquet', format }
  const code = 'ERR_INVALID_ARG_VALUE'
  t.throws(() => rotate<object>(work.spool, { ...options, commit: { ms: 10 } }), { code })
  t.throws(() => rotate<object>(work.spool, { ...options, transform: 'gzip' }), { code })
})

/** Runs the job in a child process, which is killed once OSS has answered that many requests. */
async function run({ oss, dir }: Bench, killAfter = Infinity): Promise<boolean> {
  const { NODE_OPTIONS: _loader, ...env } = process.env
  const job = { client: oss.clientOptions(BUCKET), dir, pace: killAfter === Infinity ? 0 : 5 }
  const worker = pathOf('test/etl/parquet-worker.mjs')
  const stdio = ['ignore', 'inherit', 'inherit'] as const
  const child = spawn(process.execPath, [worker, JSON.stringify(job)], { env, stdio: [...stdio] })
  const closed = once(child, 'close')
  const last = oss.requests.length + killAfter
  while (child.exitCode === null && child.signalCode === null && oss.requests.length < last) {
    await sleep(5)
  }
  if (oss.requests.length >= last) child.kill('SIGKILL')
  const [status, signal]: unknown[] = await closed
  if (signal === null && status !== 0) throw new Error(`The job exited with ${String(status)}`)
  return status === 0
}

async function contentsOf(t: Test, work: Bench): Promise<Map<string, Buffer>> {
  const { objects } = JSON.parse(String(await work.get('rows/_manifest-job.json'))) as Manifest
  t.ok(objects.length > 5)
  const contents = new Map<string, Buffer>()
  for (const { key } of objects) contents.set(key, (await work.get(key)) ?? Buffer.alloc(0))
  return contents
}

t.test('a job that was killed and rerun publishes the same files as without', async t => {
  const undisturbed = await bench(t)
  t.equal(await run(undisturbed), true)
  const work = await bench(t)
  for (const requests of sampled(t, [1, 4, 9], 3))
    t.equal(await run(work, requests), false, 'killed')
  t.equal(await run(work), true)
  const contents = await contentsOf(t, work)
  t.same(contents, await contentsOf(t, undisturbed))
  const read = [...contents.values()].map(async content =>
    parquetReadObjects({ file: toArrayBuffer(content) }),
  )
  const found = (await Promise.all(read)).flat().map(({ id }) => Number(id))
  t.same(
    found.toSorted((a, b) => a - b),
    Array.from({ length: 1000 }, (_, id) => id),
  )
})
