/**
 * The bytes that every case uploads: a stream of 64 KiB chunks from a random pool, whose CRC-64 is known
 * without reading it. The size of the pool is not a multiple of a part, so consecutive parts differ.
 */
import { createCipheriv } from 'node:crypto'
import { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { combineCrc64, crc64, EMPTY_CRC64 } from '../.build/crc64.js'

export const CHUNK = 64 * 1024
const POOL_CHUNKS = 193

/** Equal in every process, so that a resumed upload has the same bytes. */
const pool = createCipheriv('aes-128-ctr', Buffer.alloc(16), Buffer.alloc(16)).update(
  Buffer.alloc(POOL_CHUNKS * CHUNK),
)

function* chunks(size) {
  for (let at = 0, i = 0; at < size; at += CHUNK, i = (i + 1) % POOL_CHUNKS) {
    yield pool.subarray(i * CHUNK, i * CHUNK + Math.min(CHUNK, size - at))
  }
}

/** Returns the bytes from `start` to `end` of the stream, as a view where they are in the pool in one piece. */
export function bytesOf(start, end) {
  const at = start % pool.length
  const whole = pool.subarray(at, at + end - start)
  if (whole.length === end - start) return whole
  return Buffer.concat([whole, bytesOf(start + whole.length, end)])
}

/** Returns a stream of `size` bytes, at full speed or at `rate` bytes per second. */
export function sourceOf(size, rate = Infinity) {
  if (rate === Infinity) {
    const all = chunks(size)
    return new Readable({
      highWaterMark: 4 * CHUNK,
      read() {
        const { value, done } = all.next()
        this.push(done ? null : value)
      },
    })
  }
  const paced = async function* () {
    const start = performance.now()
    let sent = 0
    for (const chunk of chunks(size)) {
      const early = start + (sent / rate) * 1000 - performance.now()
      if (early > 2) await sleep(early)
      yield chunk
      sent += chunk.length
    }
  }
  return Readable.from(paced(), { objectMode: false, highWaterMark: 4 * CHUNK })
}

/** Returns the CRC-64 of `sourceOf(size)`, in the decimal format of OSS. */
export function crcOf(size) {
  const known = new Map()
  let whole = EMPTY_CRC64
  for (const chunk of chunks(size)) {
    const name = `${chunk.byteOffset} ${chunk.length}`
    const crc = known.get(name) ?? crc64(chunk)
    known.set(name, crc)
    whole = combineCrc64(whole, crc, chunk.length)
  }
  return String(whole)
}
