/** Many settings of the sink, one after the other in one process, since only their ratios matter. */
import { pipeline } from 'node:stream/promises'
import { Spool } from '../../dist/index.js'
import { sourceOf } from '../source.mjs'

export const where = 'nowhere'

export async function run({ places, dir, key, cells }) {
  const rates = []
  for (const [i, { size, partSize, parallel }] of cells.entries()) {
    const spool = new Spool({ client: places.oss, dir, partSize, parallel })
    const start = performance.now()
    await pipeline(sourceOf(size), spool.createWriteStream(`${key}-${i}`))
    rates.push(size / 1e3 / (performance.now() - start))
  }
  return { rates }
}
