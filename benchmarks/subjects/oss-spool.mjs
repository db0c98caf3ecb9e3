/** This project's sink. `sized`: it knows the number of bytes before, so that all parts have the given size. */
import { pipeline } from 'node:stream/promises'
import { Spool } from '../../dist/index.js'

export const where = 'oss'

export async function run({ places, dir, key, size, source, onProgress, ...spec }) {
  const { partSize, parallel, start = 'eager', maxSpoolBytes, sized = false } = spec
  const spool = new Spool({ client: places.oss, dir, partSize, parallel, start, maxSpoolBytes })
  const sink = spool.createWriteStream(key, sized ? { size } : {})
  if (onProgress) sink.on('progress', onProgress)
  const { sent, skipped, parts } = await pipeline(source, sink).then(() => sink.result)
  return { sent, skipped, parts, size }
}
