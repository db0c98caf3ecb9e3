/** Aborts a running upload by its signal, and measures the time until its promise settles. */
import { setTimeout as sleep } from 'node:timers/promises'
import { pipeline } from 'node:stream/promises'
import { Spool } from '../../dist/index.js'

/** Delay before the abort, in ms; parts are in flight by then. */
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
  const outcome = await ended
  if (outcome !== 'ERR_SPOOL_ABORTED') throw new Error(`unexpected outcome: ${outcome}`)
  const settled = performance.now() - from
  if (!sink.closed) await new Promise(resolve => sink.once('close', resolve))
  return { settled, closed: performance.now() - from }
}
