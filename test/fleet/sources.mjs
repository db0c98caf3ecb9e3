/** Sources of the workers in the fleet tests: the bytes of `test/crash/seeded-content.ts`, with a delay. */
import { createCipheriv, createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'

const CHUNK = 30_011

/** `pace` is the delay between two chunks in ms. */
export async function* content({ seed, size, pace = 0 }, { offset }) {
  const name = createHash('sha256').update(String(seed)).digest()
  const zeros = Buffer.alloc(size)
  const bytes = createCipheriv('aes-256-ctr', name, Buffer.alloc(16)).update(zeros)
  for (let i = offset; i < size; i += CHUNK) {
    if (pace > 0) await sleep(pace)
    yield bytes.subarray(i, i + CHUNK)
  }
}

export async function broken() {
  throw new Error('the database is unavailable')
}

/** Lines with the same text, in ten chunks. */
export async function* lines({ text, lines: count, pace = 0 }) {
  const size = Math.ceil(count / 10)
  for (let i = 0; i < count; i += size) {
    await sleep(pace)
    yield `${text}\n`.repeat(Math.min(size, count - i))
  }
}
