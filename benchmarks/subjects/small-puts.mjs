/** The same objects with plain `client.put`. */
import OSS from 'ali-oss'
import { inParallel, objects } from '../small-objects.mjs'

export const where = 'many'
export { check } from '../small-objects.mjs'

export async function run({ places, key, size, parallel }) {
  const client = new OSS(places.oss)
  await inParallel(parallel, objects(key, size), ({ name, bytes }) => client.put(name, bytes))
}
