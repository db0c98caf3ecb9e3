/**
 * Names that the examples of the documentation use without defining them, as readers have them in their own
 * programs. They are globals of the process that runs a page's examples.
 */
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import OSS from 'ali-oss'
import { Spool } from 'oss-spool'
import { startEmulator, type Emulator } from 'oss-spool/emulator'
import chain from 'stream-chain'
import { many } from 'stream-chain/defs.js'

declare global {
  interface Order {
    readonly id: number
    readonly createdAt: Date
    readonly country: string
  }
  interface Message {
    readonly id: number
    readonly at: string
    readonly body: string
  }
  interface Row {
    readonly id: number
  }
  /** A local emulator, and a client and a spool for its bucket `exports`. */
  var oss: Emulator
  var client: OSS
  var spool: Spool
  /** A new stream on every access. */
  var source: Readable
  var dump: Readable
  var readRows: () => Readable
  var readOrders: typeof readOrdersOf
  var pipeline: typeof import('node:stream/promises').pipeline
  /** Steps of a chain. */
  var chain: typeof import('stream-chain').default
  var parse: (bytes: Buffer) => unknown
  var keep: (row: Row) => Row
  var toCsv: (row: Row) => string
  var day: string
}

const emulator = await startEmulator({ buckets: ['exports'], createBuckets: true })

/** Returns records for a job, or bytes from an offset for an upload. */
function readOrdersOf(): Readable
function readOrdersOf(from: { offset: number }): Readable
function readOrdersOf(from?: { offset: number }): Readable {
  return from === undefined
    ? Readable.from(orders())
    : Readable.from(Buffer.alloc(300_000, 'o').subarray(from.offset))
}

async function* orders(): AsyncGenerator<Order> {
  for (let id = 0; id < 1500; id++) {
    yield { id, createdAt: new Date('2026-11-24T08:00:00Z'), country: 'DE' }
  }
}

async function* rows(): AsyncGenerator<Row> {
  for (let id = 0; id < 1000; id++) yield { id }
}

const text = (): Readable => Readable.from([Buffer.from('1\n2\n'), Buffer.from('3\n')])

Object.assign(globalThis, {
  oss: emulator,
  client: new OSS(emulator.clientOptions('exports')),
  spool: new Spool({ client: emulator.clientOptions('exports'), dir: './example-spool' }),
  pipeline,
  readRows: () => Readable.from(rows()),
  readOrders: readOrdersOf,
  chain,
  parse: (bytes: Buffer) =>
    many(
      bytes
        .toString()
        .split('\n')
        .filter(Boolean)
        .map(line => ({ id: Number(line) })),
    ),
  keep: (row: Row) => row,
  toCsv: ({ id }: Row) => `${id}\n`,
  day: '2026-11-24',
})
Object.defineProperty(globalThis, 'source', { get: text })
Object.defineProperty(globalThis, 'dump', { get: text })
