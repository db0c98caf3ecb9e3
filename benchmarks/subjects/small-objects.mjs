/** Many small streams over one spool, `parallel` concurrently. */
import { pipeline } from 'node:stream/promises'
import { Readable } from 'node:stream'
import { Spool } from '../../dist/index.js'
import { inParallel, objects } from '../small-objects.mjs'

export const where = 'many'
export { check } from '../small-objects.mjs'

export async function run({ places, dir, key, size, parallel }) {
  const spool = new Spool({ client: places.oss, dir })
  await inParallel(parallel, objects(key, size), ({ name, bytes }) =>
    pipeline(Readable.from([bytes], { objectMode: false }), spool.createWriteStream(name)),
  )
}
