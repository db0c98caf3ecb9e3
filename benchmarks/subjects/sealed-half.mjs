/** Uploads until OSS refuses the second half of the parts: all bytes are sealed, half are on OSS. */
import { pipeline } from 'node:stream/promises'
import { Spool } from '../../dist/index.js'

export const where = 'nowhere'

export async function run({ places, spool: dir, id, key, partSize, parallel, source }) {
  const spool = new Spool({ client: places.oss, dir, partSize, parallel, retry: { attempts: 1 } })
  const sink = spool.createWriteStream(key, { id })
  await pipeline(source, sink).catch(() => undefined)
  const [status] = await spool.uploads()
  if (status?.phase !== 'sealed') throw new Error(`${id} is ${status?.phase}, not sealed`)
  return { uploaded: status.uploaded, key }
}
