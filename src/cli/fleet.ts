/**
 * The command line's way into a fleet: its Redis, and what is made of it. `bullmq` and `ioredis` are
 * loaded here, and need not be installed for anything else.
 */
import type { UploadWorker, Sources } from '../bullmq/index.js'
import type { RateLimit } from '../oss/bucket.js'
import type { RedisCheckpoints } from '../redis/index.js'
import type { Spool } from '../spool.js'
import { omitUndefined } from '../util/omit-undefined.js'
import { UsageError } from './exit-status.js'
import type { Session } from './session.js'

export interface FleetFlags {
  readonly queue?: string
  readonly host?: string
  readonly concurrency?: number
  readonly fleetRate?: number
  readonly hostTimeout?: number
  readonly hostQueueTimeout?: number
  readonly lockTimeout?: number
}

/** What `/healthz` says. */
export interface WorkerHealth {
  readonly status: 'ok' | 'stopping' | 'unreachable'
  readonly host: string
  /** Jobs that are worked on. */
  readonly active: number
  /** Whether Redis answers. */
  readonly redis: boolean
}

export interface Fleet {
  /** Name of the queue. */
  readonly queueName: string
  readonly checkpointStore: RedisCheckpoints
  readonly rateLimit: RateLimit | undefined
  /** Says it, unless it follows from what was said: that Redis is away. */
  warn(message: string): void
  startWorker(spool: Spool, sources: Sources): UploadWorker<Sources>
  checkHealth(worker: UploadWorker<Sources>, isStopping: boolean): Promise<WorkerHealth>
}

/** ms that Redis may take to say that it is there. */
const PING_TIMEOUT_MS = 2_000

/**
 * The address of Redis. Its password is for the environment: arguments can be seen by every user.
 * @throws UsageError
 */
export function redisUrl(flag: string | undefined, env: NodeJS.ProcessEnv): string {
  const url = flag ?? env['REDIS_URL']
  if (!url)
    throw new UsageError('No Redis: give --redis or set REDIS_URL, such as redis://10.0.0.5')
  // What is wrong with it is not shown: it may hold a password.
  if (!URL.canParse(url) || !/^rediss?:$/.test(new URL(url).protocol)) {
    throw new UsageError('The URL of Redis must be redis://HOST[:PORT][/DB] or rediss://...')
  }
  if (flag !== undefined && new URL(flag).password !== '') {
    throw new UsageError(
      'A password in --redis can be seen by every user: put the URL into REDIS_URL',
    )
  }
  return url
}

/** Connects, and goes on connecting: Redis may be away now and later. @throws UsageError */
export async function openFleet(session: Session, url: string, flags: FleetFlags): Promise<Fleet> {
  const { Redis, UploadWorker: UploadWorkerClass } = await loadQueuePackages()
  const { fleetRate, redisCheckpoints } = await import('../redis/index.js')
  const redis = new Redis(url, { maxRetriesPerRequest: null })
  let isRedisAway = false
  redis.on('error', error => {
    if (!isRedisAway) session.logLine(`Redis is away: ${error.message}; waiting for it`)
    isRedisAway = true
  })
  redis.on('ready', () => {
    isRedisAway = false
  })
  session.onClose(() => redis.disconnect())
  const {
    host,
    hostTimeout,
    lockTimeout,
    hostQueueTimeout,
    concurrency,
    queue: queueName = 'oss-spool',
  } = flags
  const checkpointStore = redisCheckpoints(redis, omitUndefined({ host, hostTimeout, lockTimeout }))
  session.onClose(() => checkpointStore.close())
  const options = omitUndefined({ concurrency, hostQueueTimeout, lockTimeout })
  return {
    queueName,
    checkpointStore,
    rateLimit: flags.fleetRate === undefined ? undefined : fleetRate(redis, flags.fleetRate),
    warn: message => {
      if (!isRedisAway) session.logLine(message)
    },
    startWorker: (spool, sources) =>
      new UploadWorkerClass({
        connection: redis,
        name: queueName,
        spool,
        checkpointStore,
        sources,
        ...options,
      }),
    checkHealth: async ({ active }, isStopping) => {
      const isReachable = await Promise.race([
        redis.ping().then(
          () => true,
          () => false,
        ),
        new Promise<false>(resolve => setTimeout(resolve, PING_TIMEOUT_MS, false).unref()),
      ])
      const status = isStopping ? 'stopping' : isReachable ? 'ok' : 'unreachable'
      return { status, host: checkpointStore.host, active, redis: isReachable }
    },
  }
}

async function loadQueuePackages() {
  try {
    const { Redis } = await import('ioredis')
    const { UploadWorker } = await import('../bullmq/index.js')
    return { Redis, UploadWorker }
  } catch (error) {
    const code = error instanceof Error && 'code' in error && error.code
    if (code !== 'ERR_MODULE_NOT_FOUND') throw error
    throw new UsageError('A worker needs the packages bullmq and ioredis: install them', {
      cause: error,
    })
  }
}
