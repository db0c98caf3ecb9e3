/**
 * Checkpoints that several machines share.
 * @module oss-spool/redis
 */
export type { RedisConnection } from './connection.js'
export {
  redisCheckpoints,
  type RedisCheckpointOptions,
  type RedisCheckpoints,
} from './redis-checkpoints.js'
