/** Types of `oss-spool/chain`. Records keep their type from the source to the sink. */
import { createReadStream } from 'node:fs'
import { PassThrough, Readable, type Writable } from 'node:stream'
import { ReadableStream, TransformStream, WritableStream } from 'node:stream/web'
import { createGzip } from 'node:zlib'
import chain from 'stream-chain'
import { batch } from 'stream-chain/utils/batch.js'
import { gen, many, none, runChain, stop } from '../../src/chain/index.js'
import { jsonl, rotate, tap, type Manifest } from '../../src/etl/index.js'
import type { Spool, UploadResult } from '../../src/index.js'
import { same } from './same.js'

declare const spool: Spool
declare const signal: AbortSignal
declare const plain: Writable
declare const isCompressed: boolean
interface Row {
  readonly id: number
  readonly day: Date
}
const toRow = (id: number): Row => ({ id, day: new Date() })
const rows = rotate<Row>(spool, { job: 'j', key: 'k', format: jsonl })
const file = spool.createWriteStream('k')

// The result is that of the sink.
same<UploadResult, Awaited<typeof fromFile>>()
const fromFile = runChain([createReadStream('x'), createGzip(), file], { signal })
const ofRows = runChain([[1], toRow, rows])
same<Awaited<typeof ofRows>, Manifest>()
const ofPlain = runChain([[1], plain])
same<Awaited<typeof ofPlain>, undefined>()

// Parameters of steps are inferred, through all results that a step may have.
void runChain([
  [1, 2],
  n => (same<typeof n, number>(), n > 1 ? n : none),
  n => (same<typeof n, number>(), n > 1 ? n : stop),
  async n => (same<typeof n, number>(), many([`${n}`])),
  function* (text) {
    same<typeof text, string>()
    yield text.length
  },
  async function* (n) {
    same<typeof n, number>()
    yield { n }
  },
  record => (same<typeof record, { n: number }>(), Math.random() > 0.5 ? record : undefined),
  record => (same<typeof record, { n: number }>(), record.n),
  toRow,
  rows,
])
void runChain([[1], batch<number>(10), some => (same<typeof some, number[]>(), some), plain])
void runChain([[1], gen(toRow, ({ id }: Row) => `${id}`), text => text.length, plain])
void runChain([[1], [toRow, (row: Row) => row.day], day => day.getTime(), plain])
void runChain([[1], [n => `${n}`], text => text.length, plain])
void runChain([[1], toRow, tap<Row>(), row => row.day, plain])
void runChain([[1], chain([toRow, (row: Row) => row.day]), day => day.getTime(), plain])
void runChain([[1], new TransformStream<number, Row>(), row => row.day, new WritableStream<Date>()])
void runChain([['a'], isCompressed && createGzip(), null, undefined, file])

// Sources.
void runChain([() => [1], toRow, rows])
void runChain([async () => [1], toRow, rows])
void runChain([
  async function* () {
    yield 1
  },
  toRow,
  rows,
])
void runChain([ReadableStream.from([1]), n => toRow(n), rows])
void runChain([Readable.from([1]), (n: number) => toRow(n), rows])
void runChain([async () => (await fetch('x', { signal })).body ?? [], file])
void runChain([({ signal: whenDone }) => (same<typeof whenDone, AbortSignal>(), [1]), toRow, rows])

// @ts-expect-error -- a step of other records
void runChain([[1], (text: string) => text, plain])
// @ts-expect-error -- a later step of other records
void runChain([[1], toRow, (text: string) => text, plain])
// @ts-expect-error -- a record has no such property
void runChain([[1], toRow, row => row.name, plain])
// @ts-expect-error -- a stream of other records
void runChain([[1], tap<Row>(), plain])
// @ts-expect-error -- a web stream of other records
void runChain([[1], new TransformStream<string, string>(), plain])
// @ts-expect-error -- an array of functions of other records
void runChain([[1], [(text: string) => text, (text: string) => text], plain])
// @ts-expect-error -- a sink of other records
void runChain([[1], rows])
// @ts-expect-error -- an upload takes text and bytes
void runChain([[1], toRow, file])
// @ts-expect-error -- a web sink of other records
void runChain([[1], toRow, new WritableStream<string>()])
// @ts-expect-error -- a text is no source of records
void runChain(['text', plain])
// @ts-expect-error -- a number is no step
void runChain([[1], 5, plain])
// @ts-expect-error -- a readable stream is no sink
void runChain([[1], createReadStream('x')])
// @ts-expect-error -- a sink is required
void runChain([[1]])
// @ts-expect-error -- an unknown option
void runChain([[1], new PassThrough()], { sginal: signal })
