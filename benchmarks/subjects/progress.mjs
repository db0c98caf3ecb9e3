/** Uploads over a slow link, and measures how well the `progress` event foretold its end. */
import { pipeline } from 'node:stream/promises'
import { Spool } from '../../dist/index.js'

export const where = 'nowhere'

export async function run({ places, dir, key, size, partSize, parallel, source }) {
  const events = []
  const onProgress = ({ sent, eta }) => events.push({ at: performance.now(), sent, eta })
  const options = { size, partSize, parallel, onProgress }
  const sink = new Spool({ client: places.oss, dir }).createWriteStream(key, options)
  const from = performance.now()
  await pipeline(source, sink)
  const end = performance.now()
  const share = at => (at - from) / (end - from)
  const first = events.find(({ eta }) => eta !== undefined)
  const errors = events
    .filter(({ at }) => share(at) > 0.1 && share(at) < 0.98)
    .map(({ at, eta = Infinity }) => Math.abs(at + eta * 1000 - end) / (end - from))
  return {
    firstEta: share(first?.at ?? Infinity),
    worst: Math.max(...errors),
    events: errors.length,
  }
}
