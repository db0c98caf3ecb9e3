/** Types of `oss-spool/etl`. Records keep their type through all steps. */
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createGzip } from 'node:zlib'
import chain from 'stream-chain'
import { batch } from 'stream-chain/utils/batch.js'
import {
  csv,
  jsonl,
  parquet,
  rotate,
  tap,
  type Format,
  type Manifest,
  type ManifestObject,
  type RotateStream,
} from '../../src/etl/index.js'
import type { Spool } from '../../src/index.js'
import { same } from './same.js'

declare const spool: Spool
interface Row {
  readonly id: number
  readonly day: Date
}

const rows = rotate<Row>(spool, {
  job: 'rows',
  key: '{partition}/{yyyy}/{seq:05}.jsonl.gz',
  partitionBy: row => row.id % 2,
  time: ({ day }) => day,
  every: { records: 1000, bytes: 1e8 },
  cutBefore: (row, previous) => row.id !== previous.id,
  format: jsonl,
  transform: 'gzip',
  recordId: ({ id }) => id,
  upload: { storageClass: 'IA' },
})
same<typeof rows, RotateStream<Row>>()
same<typeof rows.result, Promise<Manifest>>()
rows.on('object', object => same<typeof object, ManifestObject>())
void rotate<Row>(spool, {
  job: 'j',
  key: 'k',
  format: await csv(),
  transform: () => [createGzip()],
})

const schema = {
  id: 'int64',
  day: { type: 'date', optional: true },
  price: 'decimal(10,2)',
} as const
void rotate<Row>(spool, { job: 'j', key: 'k', format: await parquet({ schema, rowGroup: 10 }) })
// @ts-expect-error -- an unknown type of column
void parquet({ schema: { id: 'text' } })

// Text and byte records need no format. Other records do.
void rotate(spool, { job: 'j', key: 'k' })
void rotate<Uint8Array>(spool, { job: 'j', key: 'k' })
// @ts-expect-error -- a row requires a format
void rotate<Row>(spool, { job: 'j', key: 'k' })
// @ts-expect-error -- a format of other records
void rotate<Row>(spool, { job: 'j', key: 'k', format: (text: string) => text })
// @ts-expect-error -- the job assigns the ids
void rotate(spool, { job: 'j', key: 'k', upload: { id: 'x' } })
// @ts-expect-error -- a partition is a string or a number
void rotate<Row>(spool, { job: 'j', key: 'k', format: jsonl, partitionBy: row => row })
// @ts-expect-error -- an unknown transform
void rotate(spool, { job: 'j', key: 'k', transform: 'lz4' })
same<Awaited<ReturnType<typeof csv<Row>>>, Format<Row>>()

// Streams through stream-chain and pipeline, with a tap.
const counted = tap<Row>(({ records, rate, done }) => {
  same<typeof records, number>()
  same<typeof rate, number>()
  same<typeof done, boolean>()
})
same<typeof counted.records, number>()
const toRow = (id: number): Row => ({ id, day: new Date() })
void pipeline(Readable.from([1]), chain([toRow, counted]), rows)
void pipeline(Readable.from([{ id: 1 }]), tap(), rows)
void chain([toRow, counted, rows])
void chain([toRow, batch<Row>(100), rows])
void chain([(id: number) => [toRow(id)] as const, rows])
// @ts-expect-error -- the sink accepts only rows
void chain([(id: number) => ({ other: id }), rows])

// Records that are arrays, one by one.
type Cells = readonly [id: number, name: string]
const cells = rotate<Cells>(spool, { job: 'j', key: 'k', format: jsonl, arrayRecords: true })
void chain([(id: number): Cells => [id, 'x'], cells])
// @ts-expect-error -- an array would be taken for several records
void rotate<Cells>(spool, { job: 'j', key: 'k', format: jsonl })
// @ts-expect-error -- several rows would be taken for one
void chain([(id: number): Cells[] => [[id, 'x']], cells])

// Bad records.
void rotate<Row>(spool, {
  job: 'j',
  key: 'k',
  format: jsonl,
  onBadRecord: (error, { record, number, partition }) => {
    same<typeof error, Error>()
    same<typeof record, Row>()
    same<typeof number, number>()
    same<typeof partition, string | undefined>()
    if (number > 5) throw error
    return 'skip'
  },
  deadLetter: { key: 'bad' },
})
// @ts-expect-error -- a record is skipped, or the job fails
void rotate<Row>(spool, { job: 'j', key: 'k', format: jsonl, onBadRecord: () => true })
same<Manifest['deadLetter'], ManifestObject | undefined>()
