/**
 * Names in Redis. A fleet is named by one word, the prefix of its records, hosts and rate limit. Invariant: no key of
 * a fleet can be a key of BullMQ, which begins with BullMQ's prefix and a colon.
 */
import { UsageError } from './exit-status.js'

/** Flags that select a fleet and its queue. */
export interface FleetNameFlags {
  readonly queue?: string
  readonly fleet?: string
  readonly redisPrefix?: string
}

export interface FleetNames {
  /** Name of the queue. */
  readonly queue: string
  /** Prefix of BullMQ's keys. */
  readonly queuePrefix: string
  /** Prefix of records, locks, hosts and the rate limit. */
  readonly recordPrefix: string
}

/** Default of BullMQ. */
const DEFAULT_QUEUE_PREFIX = 'bull'

/**
 * Returns the names of a fleet, which is named after its queue unless it has a name of its own. A given prefix of
 * BullMQ also begins the other keys, so that braces in it keep all keys in one slot of a cluster.
 * @throws UsageError if a name is invalid
 */
export function fleetNames(flags: FleetNameFlags): FleetNames {
  const { queue = 'oss-spool', fleet = queue, redisPrefix } = flags
  if (!/^[^:@]+$/.test(queue))
    throw new UsageError('--queue must not be empty or contain ":" or "@"')
  if (flags.fleet !== undefined && !/^[A-Za-z0-9._-]{1,128}$/.test(flags.fleet))
    throw new UsageError('--fleet must be 1 to 128 of A-Za-z0-9._-')
  if (redisPrefix === '') throw new UsageError('--redis-prefix must not be empty')
  if (redisPrefix !== undefined) {
    return { queue, queuePrefix: redisPrefix, recordPrefix: `${redisPrefix}@${fleet}` }
  }
  if (fleet === DEFAULT_QUEUE_PREFIX)
    throw new UsageError(`"${fleet}" is the prefix of BullMQ's keys. Set --fleet to another name`)
  return { queue, queuePrefix: DEFAULT_QUEUE_PREFIX, recordPrefix: fleet }
}
