/**
 * Writes 3,000,000 flights as JSON Lines by origin and month, with a manifest: `node flights-by-origin.mjs
 * [ROWS]`. A rerun, even after kill -9, sends only the missing objects, since the same job creates the
 * same objects.
 */
import { Spool } from 'oss-spool'
import { many, runChain } from 'oss-spool/chain'
import { jsonl, rotate, tap } from 'oss-spool/etl'
import { PARQUET, rowGroups } from './demo/flights.mjs'
import { openOss } from './oss.mjs'

const rows = Number(process.argv[2] ?? 3_000_000)
const oss = await openOss()
const spool = new Spool({ client: oss.client })

const toFlight = ({ date, origin, destination, distance, delay }) => ({
  departure: date,
  from: origin,
  to: destination,
  miles: Number(distance),
  late: Number(delay),
})
const objects = rotate(spool, {
  job: `flights-${rows}`,
  key: 'flights/{job}/origin={partition}/{yyyy}-{MM}-{seq:03}.jsonl.gz',
  partitionBy: flight => flight.from,
  time: flight => flight.departure,
  format: jsonl,
  transform: 'gzip',
})
const progress = tap(({ records, rate }) => {
  console.error(`${records.toLocaleString('en')} flights, ${Math.round(rate)}/s`)
})
const {
  size,
  records,
  objects: made,
} = await runChain([rowGroups(PARQUET, rows), group => many(group), toFlight, progress, objects])
console.log({ objects: made.length, records, size, seconds: Math.round(performance.now() / 1000) })
await oss.close()
