/** `parallel` workers send objects of `partSize` bytes by `client.put`. */
import OSS from 'ali-oss'
import { bytesOf } from '../source.mjs'
import { inParallel } from '../small-objects.mjs'

export const where = 'nowhere'

export async function run({ places, key, size, partSize, parallel }) {
  const client = new OSS(places.oss)
  const numbers = Array.from({ length: Math.ceil(size / partSize) }, (_, i) => i)
  await inParallel(parallel, numbers, number =>
    client.put(`${key}/${number}`, bytesOf(number * partSize, (number + 1) * partSize)),
  )
}
