/**
 * Connects a worker to its fleet: Redis, the shared checkpoints and the queue. `bullmq` and `ioredis` are
 * imported only here, so other commands work without them.
 */
import type { UploadWorker, Sources } from '../bullmq/index.js'
import type { RateLimit } from '../oss/bucket.js'
import type { RedisCheckpoints } from '../redis/index.js'
import type { Spool } from '../spool.js'
import { omitUndefined } from '../util/omit-undefined.js'
import { UsageError } from './exit-status.js'
import type { Session } from './session.js'
import { resolveFromProject } from './project-resolver.js'
import { errorCode } from '../util/error-code.js'

export interface FleetFlags {
  readonly queue?: string
  readonly host?: string
  readonly concurrency?: number
  readonly fleetRate?: number
  readonly hostTimeout?: number
  readonly hostQueueTimeout?: number
  readonly lockTimeout?: number
}

/** Body of a `/healthz` reply. */
export interface WorkerHealth {
  readonly status: 'ok' | 'stopping' | 'unreachable'
  readonly host: string
  /** Number of jobs in progress. */
  readonly active: number
  /** Whether Redis answers. */
  readonly redis: boolean
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
  /** Resolves, with a notice, once Redis has not answered for a while. Then nothing can be returned to it. */
  whenGivenUp(): Promise<void>
}

/** ms to wait for Redis to answer a ping. */
const PING_TIMEOUT_MS = 2_000

/** ms without an answer of Redis after which a worker that stops no longer waits for it. */
const GIVE_UP_AFTER_MS = 5_000
const PING_INTERVAL_MS = 500

/**
 * Checks the URL of Redis. A password is not accepted from an argument, because every user can see those.
 * @param isArgument – it is the value of --redis
 * @throws UsageError if the URL is missing or invalid
 */
export function redisUrl(url: string | undefined, isArgument: boolean): string {
  if (url === undefined)
    throw new UsageError('No Redis URL: set --redis or REDIS_URL, for example to redis://10.0.0.5')
  // The error does not quote the URL, which may contain a password.
  if (!URL.canParse(url) || !/^rediss?:$/.test(new URL(url).protocol)) {
    throw new UsageError('The URL of Redis must be redis://HOST[:PORT][/DB] or rediss://...')
  }
  if (isArgument && hasPassword(new URL(url))) {
    throw new UsageError('A password in --redis is visible to every user. Set REDIS_URL instead')
  }
  return url
}

/** The client also accepts options in the query: `?password=`, `?sentinelPassword=`. */
function hasPassword({ password, searchParams }: URL): boolean {
  return password !== '' || [...searchParams.keys()].some(name => /password/i.test(name))
}

/**
 * Connects to Redis and keeps reconnecting, since it may be unreachable now or later.
 * @param projectFolders – whose packages are used if oss-spool is installed without them, in this order
 * @throws UsageError
 */
export async function openFleet(
  session: Session,
  url: string,
  flags: FleetFlags,
  projectFolders: readonly string[],
): Promise<Fleet> {
  const { Redis, UploadWorker: UploadWorkerClass } = await loadQueuePackages(projectFolders)
  const { fleetRate, redisCheckpoints } = await import('../redis/index.js')
  const redis = new Redis(url, { maxRetriesPerRequest: null })
  let isRedisDown = false
  redis.on('error', error => {
    const message = `Redis is unreachable: ${error.message}. Reconnecting`
    if (!isRedisDown) session.logLine(message, { level: 'warn' })
    isRedisDown = true
  })
  redis.on('ready', () => {
    isRedisDown = false
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
  const isReachable = (): Promise<boolean> =>
    Promise.race([
      redis.ping().then(
        () => true,
        () => false,
      ),
      new Promise<false>(resolve => setTimeout(resolve, PING_TIMEOUT_MS, false).unref()),
    ])
  const checkpointStore = redisCheckpoints(redis, omitUndefined({ host, hostTimeout, lockTimeout }))
  session.onClose(() => checkpointStore.close())
  const options = omitUndefined({ concurrency, hostQueueTimeout, lockTimeout })
  return {
    queueName,
    checkpointStore,
    rateLimit: flags.fleetRate === undefined ? undefined : fleetRate(redis, flags.fleetRate),
    warn: message => {
      if (!isRedisDown) session.logLine(message, { level: 'warn' })
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
      const answers = await isReachable()
      const status = isStopping ? 'stopping' : answers ? 'ok' : 'unreachable'
      return { status, host: checkpointStore.host, active, redis: answers }
    },
    whenGivenUp: async () => {
      let answeredAt = Date.now()
      while (Date.now() - answeredAt < GIVE_UP_AFTER_MS) {
        await new Promise<void>(resolve => setTimeout(resolve, PING_INTERVAL_MS).unref())
        if (await isReachable()) answeredAt = Date.now()
      }
      session.logLine(
        'Redis does not answer: its jobs return to the queue when their locks expire',
        { level: 'warn' },
      )
    },
  }
}

async function loadQueuePackages(projectFolders: readonly string[]) {
  resolveFromProject(['bullmq', 'ioredis'], projectFolders)
  try {
    const { Redis } = await import('ioredis')
    const { UploadWorker } = await import('../bullmq/index.js')
    return { Redis, UploadWorker }
  } catch (error) {
    if (errorCode(error) !== 'ERR_MODULE_NOT_FOUND') throw error
    throw new UsageError(
      'A worker needs the packages bullmq and ioredis. Run "npm install bullmq ioredis" in the folder of its sources',
      {
        cause: error,
      },
    )
  }
}
