/** Connects commands to Redis, and imports the queue from the packages of the project. */
import { SpoolError } from '../errors.js'
import { errorCode } from '../util/error-code.js'
import { errorMessage } from '../util/error-shape.js'
import { UsageError } from './exit-status.js'
import { fleetNames, type FleetNameFlags, type FleetNames } from './fleet-names.js'
import { resolveFromProject } from './project-resolver.js'
import {
  createRedisClient,
  readTlsFiles,
  type RedisClient,
  type RedisSecurityFlags,
} from './redis-client.js'
import { hasHashTag, parseRedisUrl } from './redis-url.js'
import type { Session } from './session.js'

/** Flags of every command that connects to Redis. */
export interface RedisFlags extends FleetNameFlags, RedisSecurityFlags {
  readonly redis?: string
}

/** Connection to Redis, closed at the end of the session. */
export interface CliRedis {
  readonly client: RedisClient
  readonly names: FleetNames
  /** Resolves to whether Redis answers a ping within 2 s. */
  isReachable(): Promise<boolean>
  /** Resolves to whether Redis executes a command within 2 s that needs memory and a primary. */
  acceptsWrites(): Promise<boolean>
  /** Logs a warning, unless Redis is known to be unreachable, which explains the warning. */
  warn(message: string): void
}

/** ms to wait for Redis to answer a probe. */
const PROBE_TIMEOUT_MS = 2_000
/** ms that a command which ends waits for the connection. */
const CONNECT_TIMEOUT_MS = 5_000

/**
 * Connects to Redis for a long time: reconnects forever, with one notice for each time that Redis is unreachable, and
 * commands wait meanwhile. Does not wait for the connection.
 * @param projectFolders – whose packages are used if oss-spool is installed without them, in this order
 * @throws UsageError if the flags are invalid or a package is missing
 */
export async function openRedis(
  session: Session,
  flags: RedisFlags,
  projectFolders: readonly string[],
): Promise<CliRedis> {
  const redis = await createConnection(session, flags, projectFolders, null)
  let isDown = false
  redis.client.on('error', error => {
    const message = `Redis is unreachable: ${error.message}. Reconnecting`
    if (!isDown) session.logLine(message, { level: 'warn' })
    isDown = true
  })
  redis.client.on('ready', () => {
    isDown = false
  })
  return {
    ...redis,
    warn: message => {
      if (!isDown) session.logLine(message, { level: 'warn' })
    },
  }
}

/**
 * Connects to Redis for one command, which fails if Redis does not answer within 5 s, now or later.
 * @throws UsageError if the flags are invalid or a package is missing
 * @throws SpoolError `ERR_SPOOL_UNREADABLE` if Redis does not answer
 */
export async function openRedisOnce(session: Session, flags: RedisFlags): Promise<CliRedis> {
  const redis = await createConnection(session, flags, [process.cwd()], 1)
  let lastError: Error | undefined
  redis.client.on('error', error => {
    lastError = error
  })
  let timer: NodeJS.Timeout | undefined
  const timedOut = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => {
      const cause = lastError ?? new Error(`no answer within ${CONNECT_TIMEOUT_MS / 1000} s`)
      reject(cause)
    }, CONNECT_TIMEOUT_MS)
  })
  try {
    await Promise.race([redis.client.ping(), timedOut])
    return redis
  } catch (error) {
    const cause = lastError ?? error
    const message = `Redis is unreachable: ${errorMessage(cause)}. Nothing was changed`
    const hint = 'Check the Redis server and REDIS_URL, then run the command again.'
    throw new SpoolError('ERR_SPOOL_UNREADABLE', message, { hint, cause })
  } finally {
    clearTimeout(timer)
  }
}

/**
 * Imports the queue. Call it after the connection was opened, which finds the packages.
 * @throws UsageError if a package is missing
 */
export function importQueueModule(): Promise<typeof import('../bullmq/index.js')> {
  return import('../bullmq/index.js').catch(rethrowMissingPackage)
}

async function createConnection(
  session: Session,
  flags: RedisFlags,
  projectFolders: readonly string[],
  maxRetriesPerRequest: number | null,
): Promise<CliRedis> {
  const names = fleetNames(flags)
  const isArgument = session.configuration.origins.get('redis')?.from === '--redis'
  const target = parseRedisUrl(flags.redis, isArgument)
  if (target.kind === 'cluster' && !hasHashTag(names.queuePrefix)) {
    const hint = 'Set --redis-prefix to a word in braces, such as {uploads}, on every machine.'
    throw new UsageError('A Redis cluster needs --redis-prefix, so that all keys are in one slot', {
      hint,
    })
  }
  const tls = await readTlsFiles(target, flags)
  resolveFromProject(['bullmq', 'ioredis', 'prom-client'], projectFolders)
  const client = await createRedisClient(target, tls, flags, maxRetriesPerRequest).catch(
    rethrowMissingPackage,
  )
  session.onClose(() => client.disconnect())
  return {
    client,
    names,
    isReachable: () => succeeds(client.ping()),
    acceptsWrites: () =>
      succeeds(client.set(`${names.recordPrefix}:probe`, '', 'PX', PROBE_TIMEOUT_MS)),
    warn: message => session.logLine(message, { level: 'warn' }),
  }
}

function succeeds(command: Promise<unknown>): Promise<boolean> {
  return Promise.race([
    command.then(
      () => true,
      () => false,
    ),
    new Promise<false>(resolve => setTimeout(resolve, PROBE_TIMEOUT_MS, false).unref()),
  ])
}

function rethrowMissingPackage(error: unknown): never {
  if (errorCode(error) !== 'ERR_MODULE_NOT_FOUND') throw error
  throw new UsageError(
    'Redis needs the packages bullmq and ioredis. Run "npm install bullmq ioredis" in the folder of the sources',
    { cause: error },
  )
}
