/**
 * Uploads that belong to a job. Looks in every queue with the same prefix, because several queues can share the records
 * of a fleet.
 */
import { stringListReply, type RedisConnection } from '../redis/connection.js'
import type { QueueSettings } from './queue-options.js'
import { uploadIdOf } from './upload-id.js'

/** Keys of a queue with its jobs: lists, then sorted sets. `paused` may have jobs of earlier versions of BullMQ. */
const LISTS = ['wait', 'paused', 'active']
const SETS = ['waiting-children', 'prioritized', 'delayed', 'failed', 'completed']

/** Returns the ids of all jobs at once, because a job may change its state between two commands. */
const JOB_IDS_SCRIPT = `
local ids = {}
for i, key in ipairs(KEYS) do
  ids[i] = redis.call(i <= ${LISTS.length} and 'lrange' or 'zrange', key, 0, -1)
end
return ids`

/** Number of keys that Redis examines per command. */
const SCAN_COUNT = 1_000

export class KnownUploads {
  readonly #connection: RedisConnection
  /** Prefixes of the keys of each queue. */
  readonly #queues: readonly string[]
  #uploadIds: ReadonlySet<string> = new Set()

  private constructor(connection: RedisConnection, queues: readonly string[]) {
    this.#connection = connection
    this.#queues = queues
  }

  /** Finds the queues. */
  static async find({ connection, prefix, name }: QueueSettings): Promise<KnownUploads> {
    const queues = new Set([`${prefix}:${name}:`, ...(await findQueues(connection, prefix))])
    return new KnownUploads(connection, [...queues])
  }

  /** Returns whether a queue has the job of this upload, in any state, or had it since `find`. */
  async has(uploadId: string): Promise<boolean> {
    if (this.#uploadIds.has(uploadId)) return true
    const uploadIds = new Set<string>()
    for (const queue of this.#queues) {
      const keys = [...LISTS, ...SETS].map(name => `${queue}${name}`)
      const reply = await this.#connection.call('EVAL', JOB_IDS_SCRIPT, keys.length, ...keys)
      for (const jobId of stringListReply(reply)) uploadIds.add(uploadIdOf(jobId))
    }
    this.#uploadIds = uploadIds
    return uploadIds.has(uploadId)
  }
}

/** Returns the prefixes of the keys of all queues: each of them has a key with its settings. */
async function findQueues(connection: RedisConnection, prefix: string): Promise<string[]> {
  const pattern = `${prefix.replaceAll(/[*?[\]\\]/g, String.raw`\$&`)}:*:meta`
  const found = await Promise.all(serversOf(connection).map(server => scan(server, pattern)))
  return found.flat().map(key => key.slice(0, -'meta'.length))
}

/** SCAN finds the keys of one server only. */
function serversOf(connection: RedisConnection & { nodes?: unknown }): RedisConnection[] {
  if (typeof connection.nodes !== 'function') return [connection]
  // A cluster of `ioredis`, whose `nodes()` returns the clients of its servers.
  const cluster = connection as unknown as { nodes(role: 'master'): RedisConnection[] }
  return cluster.nodes('master')
}

async function scan(server: RedisConnection, pattern: string): Promise<string[]> {
  const keys: string[] = []
  for (let cursor = '0'; ;) {
    const reply = await server.call('SCAN', cursor, 'MATCH', pattern, 'COUNT', SCAN_COUNT)
    const [next, ...page] = stringListReply(reply)
    keys.push(...page)
    if (next === undefined || next === '0') return keys
    cursor = next
  }
}
