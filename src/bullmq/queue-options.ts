/** What queue and workers must agree on: the Redis, and the names of the keys in it. */
import type { ConnectionOptions } from 'bullmq'
import { invalidType, invalidValue } from '../errors.js'
import type { RedisConnection } from '../redis/connection.js'
import { DEFAULT_QUEUE_NAME } from './job.js'

/**
 * An `ioredis` client with `maxRetriesPerRequest: null`. It stays its maker's, who closes it; workers
 * make a second connection like it, to wait on.
 */
export type QueueConnection = RedisConnection & ConnectionOptions

/** Which queue, on which Redis: the same for all who share it. */
export interface QueueOptions {
  /** Stays its maker's, who closes it. */
  readonly connection: QueueConnection
  /** Name of the queue; one for each bucket. Without `:` and `@`. @default 'oss-spool' */
  readonly name?: string
  /** What the names of BullMQ's keys begin with; in braces on a cluster. @default 'bull' */
  readonly prefix?: string
}

export type QueueSettings = Required<QueueOptions>

/** @throws TypeError */
export function checkQueueOptions(options: QueueOptions): QueueSettings {
  const { connection, name = DEFAULT_QUEUE_NAME, prefix = 'bull' } = options
  if (typeof connection?.call !== 'function') {
    throw invalidType('connection', 'an ioredis client', typeof connection)
  }
  if (typeof name !== 'string') throw invalidType('name', 'a string', name)
  if (!/^[^:@]+$/.test(name)) throw invalidValue('name', 'must be without ":" and "@"', name)
  if (typeof prefix !== 'string') throw invalidType('prefix', 'a string', prefix)
  return { connection, name, prefix }
}
