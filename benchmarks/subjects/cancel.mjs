/** An upload in full flight, cancelled by its signal: how long until its promise has settled. */
import { setTimeout as sleep } from 'node:timers/promises'
import { pipeline } from 'node:stream/promises'
import { Spool } from '../../dist/index.js'

/** By then parts are on the line. */
const BEFORE = 500

export const where = 'nowhere'

export async function run({ places, dir, key, partSize, parallel, source }) {
  const stop = new AbortController()
  const sink = new Spool({ client: places.oss, dir }).createWriteStream(key, {
    partSize,
    parallel,
    signal: stop.signal,
  })
  const ended = pipeline(source, sink).then(
    () => 'published',
    ({ code }) => code,
  )
  await sleep(BEFORE)
  const from = performance.now()
  stop.abort()
  const how = await ended
  if (how !== 'ERR_SPOOL_ABORTED') throw new Error(`it ended with ${how}`)
  const settled = performance.now() - from
  if (!sink.closed) await new Promise(resolve => sink.once('close', resolve))
  return { settled, closed: performance.now() - from }
}
