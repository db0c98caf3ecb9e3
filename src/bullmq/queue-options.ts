/** Options that the queue and its workers must share: the Redis connection and the names of keys. */
import type { ConnectionOptions } from 'bullmq'
import { checkObject, checkProperties, invalidType, invalidValue } from '../errors.js'
import type { RedisConnection } from '../redis/connection.js'
import { DEFAULT_QUEUE_NAME } from './job.js'

/**
 * An `ioredis` client with `maxRetriesPerRequest: null`. The caller closes it. Workers duplicate it for
 * blocking commands.
 */
export type QueueConnection = RedisConnection & ConnectionOptions

/** Options that identify a queue. Use the same values for the queue and all its workers. */
export interface QueueOptions {
  /** Redis client; the caller closes it. */
  readonly connection: QueueConnection
  /** Name of the queue, without `:` and `@`. Use one queue per bucket. @default 'oss-spool' */
  readonly name?: string
  /** Prefix of BullMQ's keys. Put it in braces on a Redis cluster. @default 'bull' */
  readonly prefix?: string
}

export type QueueSettings = Required<QueueOptions>

/**
 * @param others – has a property of each option that the caller checks itself
 * @throws TypeError
 */
export function checkQueueOptions(
  options: QueueOptions,
  others: Readonly<Record<string, true>>,
): QueueSettings {
  checkObject('options', options)
  checkProperties('options', options, { connection: true, name: true, prefix: true, ...others })
  const { connection, name = DEFAULT_QUEUE_NAME, prefix = 'bull' } = options
  if (typeof connection?.call !== 'function') {
    throw invalidType('connection', 'an ioredis client', typeof connection)
  }
  if (typeof name !== 'string') throw invalidType('name', 'a string', name)
  if (!/^[^:@]+$/.test(name))
    throw invalidValue('name', 'must not be empty or contain ":" or "@"', name)
  if (typeof prefix !== 'string') throw invalidType('prefix', 'a string', prefix)
  return { connection, name, prefix }
}
