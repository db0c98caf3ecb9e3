/** Invariants of a fleet at the end of a test. */
import { readdir } from 'node:fs/promises'
import OSS from 'ali-oss'
import type { Test } from 'tap'
import { redisCheckpoints } from '../../src/redis/index.js'
import { contentOf } from '../crash/seeded-content.js'
import { until } from '../support/command-line.js'
import { BUCKET } from '../support/oss.js'
import type { RedisAccess } from '../support/redis.js'
import type { Machines } from './machines.js'

/** Arguments of the source of an object. */
export interface Content {
  readonly seed: number
  readonly size: number
}

const PUBLISHING = ['CompleteMultipartUpload', 'PutObject'] as const

/** Asserts that every object has the bytes of its source and was published once. */
export async function checkObjects(
  t: Test,
  fleet: Machines<RedisAccess>,
  objects: ReadonlyMap<string, Content>,
): Promise<void> {
  await checkContents(t, fleet, objects)
  const counts = publications(fleet)
  t.same(
    [...objects.keys()].filter(key => counts.get(key) !== 1),
    [],
    'each key is published once',
  )
  t.equal(counts.size, objects.size, 'nothing else is published')
}

/** Returns how often each key was published. */
export function publications(fleet: Machines<RedisAccess>): Map<string, number> {
  const counts = new Map<string, number>()
  for (const { key = '' } of fleet.done(...PUBLISHING)) counts.set(key, (counts.get(key) ?? 0) + 1)
  return counts
}

/** Asserts that every object has the bytes of its source. */
export async function checkContents(
  t: Test,
  { bench }: Machines<RedisAccess>,
  objects: ReadonlyMap<string, Content>,
): Promise<void> {
  for (const [key, { seed, size }] of objects) {
    if (!(await bench.get(key))?.equals(contentOf(seed, size)))
      t.fail(`${key} does not match its source`)
  }
}

/**
 * Asserts that nothing is left after `prune`: uploads, upload ids on OSS, keys in Redis, bytes of these hosts.
 * @param lostUploadIds – maximum number of upload ids whose records were lost with Redis
 */
export async function checkNothingLeft(
  t: Test,
  fleet: Machines<RedisAccess>,
  hosts: readonly string[],
  lostUploadIds = 0,
): Promise<void> {
  const { bench, redis, spool } = fleet
  await until(async () => (await redis.keys('oss-spool:lock:*')).length === 0)
  t.same(await spool.uploads(), [], 'no upload is unfinished')
  for (const host of hosts) {
    const checkpoints = redisCheckpoints(redis, { host })
    const dir = fleet.dir(host)
    await bench
      .another({ dir, checkpointStore: checkpoints })
      .prune({ olderThan: 0, sealed: true, orphans: true })
    checkpoints.close()
    const files = await readdir(dir, { recursive: true }).catch(() => [])
    t.same(
      files.filter(name => name !== 'quarantine'),
      [],
      `no file is left on ${host}`,
    )
  }
  const client = new OSS(bench.oss.clientOptions(BUCKET))
  const { uploads } = await client.listUploads({ 'max-uploads': 1000 }, {})
  t.ok(uploads.length <= lostUploadIds, `${uploads.length} upload ids are left on OSS`)
  const keys = await redis.keys('oss-spool:*')
  const passing = /^oss-spool:(?:fence|host:.*)$/
  t.same(
    keys.filter(key => !passing.test(key)),
    [],
    'no key of an upload is left in Redis',
  )
}
