/**
 * Checkpoints and rate limits shared by several machines.
 * @module oss-spool/redis
 */
export type { RedisConnection } from './connection.js'
export { fleetRate, type FleetRateOptions } from './fleet-rate.js'
export {
  redisCheckpoints,
  type RedisCheckpointOptions,
  type RedisCheckpoints,
} from './redis-checkpoints.js'
