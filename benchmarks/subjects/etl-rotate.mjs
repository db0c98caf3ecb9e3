/** Records into gzip objects with `rotate`. */
import { pipeline } from 'node:stream/promises'
import { jsonl, rotate } from '../../dist/etl/index.js'
import { Spool } from '../../dist/index.js'
import { sourceOfRecords } from '../records.mjs'

export const where = 'many'
export { check } from '../records.mjs'

export async function run({ places, dir, key, size, perObject }) {
  const spool = new Spool({ client: places.oss, dir })
  const sink = rotate(spool, {
    job: key,
    key: `${key}/{partition}-{seq}.jsonl.gz`,
    partitionBy: ({ partition }) => partition,
    format: jsonl,
    transform: 'gzip',
    every: { records: perObject },
  })
  await pipeline(sourceOfRecords(size), sink)
}
