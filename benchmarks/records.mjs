/** Records of the case `etl`, and the check that all of their objects are on the server. */
import { Readable } from 'node:stream'
import OSS from 'ali-oss'

/** Approximate length of a record as a line of JSON, in bytes; `size` of a run is a multiple of it. */
export const RECORD = 100

const PARTITIONS = 10

/** Records of a run of `size` bytes, in partitions that alternate irregularly. The same in every run. */
export function* recordsOf(size) {
  let state = 1
  for (let id = 0; id < size / RECORD; id++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    const partition = `region-${Math.floor((state / 2 ** 32) * PARTITIONS)}`
    const amount = (state % 100_000) / 100
    yield { id, partition, amount, at: new Date(1.7e12 + id * 1000), user: `user-${state % 9973}` }
  }
}

/** A source as of a database: a stream of records. */
export const sourceOfRecords = size => Readable.from(recordsOf(size))

/** Number of objects of at most `perObject` records, each of one partition. */
export function objectCount(size, perObject) {
  const counts = new Map()
  for (const { partition } of recordsOf(size)) {
    counts.set(partition, (counts.get(partition) ?? 0) + 1)
  }
  return [...counts.values()].reduce((sum, count) => sum + Math.ceil(count / perObject), 0)
}

/** Checks that the server has as many objects as the records of the run fill. */
export async function check({ places, key, size, perObject }) {
  const client = new OSS(places.oss)
  let found = 0
  let continuation
  do {
    const query = { prefix: `${key}/`, 'max-keys': 1000, 'continuation-token': continuation }
    const { objects, nextContinuationToken } = await client.listV2(query)
    found += objects.filter(({ name }) => name.endsWith('.gz')).length
    continuation = nextContinuationToken
  } while (continuation)
  const expected = objectCount(size, perObject)
  if (found !== expected) throw new Error(`${key} has ${found} objects instead of ${expected}`)
}
