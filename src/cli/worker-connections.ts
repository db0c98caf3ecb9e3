/** Connects a worker to its fleet: Redis, the shared checkpoints and the queue. */
import type { UploadWorker, Sources } from '../bullmq/index.js'
import type { RateLimit } from '../oss/bucket.js'
import type { RedisCheckpoints } from '../redis/index.js'
import type { Spool } from '../spool.js'
import { omitUndefined } from '../util/omit-undefined.js'
import { importQueueModule, openRedis, type RedisFlags } from './redis-connection.js'
import { checkRedisAtStart } from './redis-start-check.js'
import type { Session } from './session.js'
import { EventLoopDelay, healthStatus, type WorkerHealth } from './worker-health.js'

export interface FleetFlags extends RedisFlags {
  readonly host?: string
  readonly concurrency?: number
  readonly fleetRate?: number
  readonly hostTimeout?: number
  readonly hostQueueTimeout?: number
  readonly lockTimeout?: number
  readonly sourceIdleTimeout?: number
  readonly sourceTimeout?: number
}

export interface Fleet {
  /** Name of the queue. */
  readonly queueName: string
  readonly checkpointStore: RedisCheckpoints
  readonly rateLimit: RateLimit | undefined
  /** Logs a warning, unless Redis is known to be unreachable, which explains the warning. */
  warn(message: string): void
  startWorker(spool: Spool, sources: Sources): UploadWorker<Sources>
  checkHealth(worker: UploadWorker<Sources>, isStopping: boolean): Promise<WorkerHealth>
  /** Resolves, with a notice, once Redis has accepted nothing for a while. Then no job can be returned to it. */
  whenGivenUp(): Promise<void>
}

/** ms without success after which a worker that stops no longer waits for Redis. */
const GIVE_UP_AFTER_MS = 5_000
const PROBE_INTERVAL_MS = 500

/**
 * Connects to Redis and keeps reconnecting, since it may be unreachable now or later.
 * @param projectFolders – whose packages are used if oss-spool is installed without them, in this order
 * @throws UsageError
 */
export async function openFleet(
  session: Session,
  flags: FleetFlags,
  projectFolders: readonly string[],
): Promise<Fleet> {
  const redis = await openRedis(session, flags, projectFolders)
  await checkRedisAtStart(session, redis)
  const { UploadWorker: UploadWorkerClass } = await importQueueModule()
  const { fleetRate, redisCheckpoints } = await import('../redis/index.js')
  const { client, names } = redis
  const { host, hostTimeout, lockTimeout, hostQueueTimeout, concurrency } = flags
  const prefix = names.recordPrefix
  const checkpointStore = redisCheckpoints(
    client,
    omitUndefined({ host, hostTimeout, lockTimeout, prefix }),
  )
  session.onClose(() => checkpointStore.close())
  const { sourceIdleTimeout, sourceTimeout } = flags
  const options = omitUndefined({
    concurrency,
    hostQueueTimeout,
    lockTimeout,
    sourceIdleTimeout,
    sourceTimeout,
  })
  const eventLoopDelay = new EventLoopDelay()
  session.onClose(() => eventLoopDelay.stop())
  return {
    queueName: names.queue,
    checkpointStore,
    rateLimit:
      flags.fleetRate === undefined ? undefined : fleetRate(client, flags.fleetRate, { prefix }),
    warn: message => redis.warn(message),
    startWorker: (spool, sources) =>
      new UploadWorkerClass({
        connection: client,
        name: names.queue,
        prefix: names.queuePrefix,
        spool,
        checkpointStore,
        sources,
        ...options,
      }),
    checkHealth: async ({ active, idleSources }, isStopping) => {
      const health = {
        redis: await redis.isReachable(),
        idleSources,
        eventLoopDelay: eventLoopDelay.max,
      }
      return {
        status: healthStatus(health, isStopping),
        host: checkpointStore.host,
        active,
        ...health,
      }
    },
    whenGivenUp: async () => {
      let acceptedAt = performance.now()
      while (performance.now() - acceptedAt < GIVE_UP_AFTER_MS) {
        await new Promise<void>(resolve => setTimeout(resolve, PROBE_INTERVAL_MS).unref())
        if (await redis.acceptsWrites()) acceptedAt = performance.now()
      }
      session.logLine(
        'Redis does not answer or refuses commands: its jobs return to the queue when their locks expire',
        { level: 'warn' },
      )
    },
  }
}
