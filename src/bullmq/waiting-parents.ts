/**
 * Jobs that wait for a child in a host queue. When a waiting child is removed, BullMQ reads the id of its parent as
 * the text after the last `:` of a key. A parent with a `:` in its id, such as the run of a schedule, would wait for
 * ever.
 */
import type { RedisConnection } from '../redis/connection.js'

/** Returns a parent without unfinished children to the queue, as BullMQ does for other ids. */
const RELEASE_SCRIPT = `
if redis.call('SCARD', KEYS[2]) > 0 or redis.call('ZREM', KEYS[1], ARGV[1]) == 0 then return 0 end
redis.call('RPUSH', KEYS[3], ARGV[1])
redis.call('ZADD', KEYS[4], 0, '0')
return 1`

/**
 * Releases all parents that wait for no child. Idempotent, so it also completes a release that a crash interrupted.
 * @param prefix – prefix of the queue's keys
 */
export async function releaseParents(connection: RedisConnection, prefix: string): Promise<void> {
  const waiting = `${prefix}waiting-children`
  let cursor = '0'
  do {
    const reply = await connection.call('ZSCAN', waiting, cursor, 'MATCH', '*:*', 'COUNT', 1_000)
    const [next, scores] = Array.isArray(reply) ? reply : []
    // The reply alternates between ids and scores.
    const ids: unknown[] = Array.isArray(scores) ? scores.filter((_, i) => i % 2 === 0) : []
    for (const id of ids) {
      const keys = [
        waiting,
        `${prefix}${String(id)}:dependencies`,
        `${prefix}wait`,
        `${prefix}marker`,
      ]
      await connection.call('EVAL', RELEASE_SCRIPT, keys.length, ...keys, String(id))
    }
    cursor = String(next ?? '0')
  } while (cursor !== '0')
}
