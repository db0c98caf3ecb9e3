/**
 * The input: 3,000,000 real US flights of 2001 from `vega-datasets`. Only one row group (some 270,000
 * rows) is in memory; the next one is read when the chain has consumed it.
 */
import { Readable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { asyncBufferFromFile, parquetMetadataAsync, parquetReadObjects } from 'hyparquet'
import { compressors } from 'hyparquet-compressors'
import chain, { many, none } from 'stream-chain'
import { batch } from 'stream-chain/utils/batch.js'

export const PARQUET = fileURLToPath(
  new URL('../data/flights-3m.parquet', import.meta.resolve('vega-datasets')),
)

const KM_PER_MILE = 1.609344

/** Returns a readable stream of the flights of 100 miles and more, as CSV text. */
export function flightsAsCsv() {
  return chain([
    Readable.from(rowGroups(PARQUET)),
    rows => many(rows),
    flight => (flight.distance < 100n ? none : flight),
    reshape,
    row => `${Object.values(row).join(',')}\n`,
    batch(1000), // one large string is cheaper for gzip than a thousand small ones
    lines => lines.join(''),
  ])
}

/** Yields arrays of rows, at most `limit` rows in total. */
export async function* rowGroups(path, limit = Infinity) {
  const file = await asyncBufferFromFile(path)
  const metadata = await parquetMetadataAsync(file)
  let rowStart = 0
  for (const group of metadata.row_groups) {
    const rowEnd = Math.min(rowStart + Number(group.num_rows), limit)
    if (rowEnd === rowStart) return
    yield await parquetReadObjects({ file, metadata, rowStart, rowEnd, compressors })
    rowStart = rowEnd
  }
}

function reshape({ date, delay, distance, origin, destination }) {
  return {
    departure: date.toISOString().slice(0, 16),
    from: origin,
    to: destination,
    km: Math.round(Number(distance) * KM_PER_MILE),
    late: delay,
  }
}
