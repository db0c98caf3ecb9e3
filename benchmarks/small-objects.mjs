/** Objects of 10 KB: generation, parallel upload, verification. */
import OSS from 'ali-oss'
import { crc64 } from '../.build/crc64.js'

export const OBJECT = 10_000

export function* objects(key, size) {
  for (let i = 0; i < size / OBJECT; i++) {
    yield { name: `${key}/${i}`, bytes: Buffer.alloc(OBJECT, `${key} ${i} `) }
  }
}

/** Runs `work` on all `items`, at most `parallel` concurrently. */
export async function inParallel(parallel, items, work) {
  const all = items[Symbol.iterator]()
  const worker = async () => {
    for (let next = all.next(); !next.done; next = all.next()) await work(next.value)
  }
  await Promise.all(Array.from({ length: parallel }, worker))
}

export async function check({ places, key, size }) {
  const client = new OSS(places.oss)
  await inParallel(16, objects(key, size), async ({ name, bytes }) => {
    const { headers } = (await client.head(name)).res
    if (headers['x-oss-hash-crc64ecma'] !== String(crc64(bytes)))
      throw new Error(`${name} is wrong`)
  })
}
