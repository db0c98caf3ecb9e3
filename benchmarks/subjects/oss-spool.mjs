/** This project's sink. */
import { pipeline } from 'node:stream/promises'
import { Spool } from '../../dist/index.js'

export const where = 'oss'

export async function run({ places, dir, key, size, partSize, parallel, source, told, start }) {
  const spool = new Spool({ client: places.oss, dir, partSize, parallel })
  const sink = spool.createWriteStream(key, start === undefined ? {} : { start })
  if (told) sink.on('progress', told)
  const { sent, skipped, parts } = await pipeline(source, sink).then(() => sink.result)
  return { sent, skipped, parts, size }
}
