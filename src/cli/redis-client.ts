/**
 * Creates the client for a URL of Redis. `ioredis` is imported only here and only when needed, so other commands work
 * without it.
 */
import { readFile } from 'node:fs/promises'
import { createSecureContext, type SecureContextOptions } from 'node:tls'
import type { Cluster, Redis } from 'ioredis'
import { errorCode } from '../util/error-code.js'
import { errorMessage } from '../util/error-shape.js'
import { omitUndefined } from '../util/omit-undefined.js'
import { UsageError } from './exit-status.js'
import type { RedisTarget } from './redis-url.js'
import { watchedConnector } from './sentinel-connector.js'

export type RedisClient = Redis | Cluster

/** Flags of certificates, and passwords, which are settings without flags. */
export interface RedisSecurityFlags {
  readonly redisCa?: string
  readonly redisCert?: string
  readonly redisKey?: string
  readonly redisPassword?: string
  readonly redisSentinelPassword?: string
}

/** ms to wait for an answer of a Sentinel before the next one is asked. */
const SENTINEL_TIMEOUT_MS = 5_000

/**
 * Reads the certificates of a connection.
 * @throws UsageError if a file cannot be used, or the connection has no TLS
 */
export async function readTlsFiles(
  { isTls }: Pick<RedisTarget, 'isTls'>,
  { redisCa, redisCert, redisKey }: RedisSecurityFlags,
): Promise<SecureContextOptions | undefined> {
  const flag = redisCa === undefined ? '--redis-cert' : '--redis-ca'
  const isGiven = [redisCa, redisCert, redisKey].some(path => path !== undefined)
  if (isGiven && !isTls)
    throw new UsageError(`${flag} needs TLS: begin the URL of Redis with rediss`)
  if ((redisCert === undefined) !== (redisKey === undefined))
    throw new UsageError('--redis-cert and --redis-key belong together')
  if (!isTls) return undefined
  const options = omitUndefined({
    ca: await readPem('--redis-ca', redisCa),
    cert: await readPem('--redis-cert', redisCert),
    key: await readPem('--redis-key', redisKey),
  })
  try {
    createSecureContext(options)
  } catch (error) {
    throw new UsageError(`The certificates for Redis are invalid: ${errorMessage(error)}`)
  }
  return options
}

/**
 * Creates a client, which connects at once and reconnects forever.
 * @param maxRetriesPerRequest – reconnections after which a command fails; `null` for none
 */
export async function createRedisClient(
  target: RedisTarget,
  tls: SecureContextOptions | undefined,
  { redisPassword, redisSentinelPassword }: RedisSecurityFlags,
  maxRetriesPerRequest: number | null,
): Promise<RedisClient> {
  const { Cluster: ClusterClass, Redis: RedisClass, SentinelConnector } = await import('ioredis')
  const common = { maxRetriesPerRequest, ...omitUndefined({ tls }) }
  if (target.kind === 'server') {
    return new RedisClass(withPassword(target.url, redisPassword), {
      ...common,
      // 1: connects again, since the name may stand for the new primary by now. The command fails: a server that stays
      // a replica must not keep it.
      reconnectOnError: error => (isDemoted(error) ? 1 : false),
    })
  }
  const { nodes, username, password = redisPassword } = target
  const options = { ...common, ...omitUndefined({ username, password }) }
  if (target.kind === 'sentinel') {
    return new RedisClass({
      ...options,
      ...omitUndefined({ sentinelPassword: redisSentinelPassword, sentinelTLS: tls }),
      sentinels: [...nodes],
      name: target.name,
      db: target.db,
      enableTLSForSentinelMode: tls !== undefined,
      sentinelCommandTimeout: SENTINEL_TIMEOUT_MS,
      // A primary that is cut off does not close its connections.
      failoverDetector: true,
      Connector: watchedConnector(SentinelConnector),
      // 2: connects to the new primary, and sends the command again, which the demoted one has not executed.
      reconnectOnError: error => (isDemoted(error) ? 2 : false),
    })
  }
  return new ClusterClass([...nodes], {
    redisOptions: options,
    // Keeps host names, which certificates contain instead of addresses.
    dnsLookup: (host, callback) => callback(null, host),
  })
}

/** Whether the server has become a replica. */
function isDemoted({ message }: Error): boolean {
  return message.startsWith('READONLY')
}

/** A password in the URL takes precedence. */
function withPassword(text: string, password: string | undefined): string {
  const url = new URL(text)
  if (password === undefined || url.password !== '' || url.searchParams.has('password')) return text
  url.password = password
  return url.href
}

async function readPem(flag: string, path: string | undefined): Promise<string | undefined> {
  if (path === undefined) return undefined
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    throw new UsageError(
      `The file of ${flag} cannot be read: ${errorCode(error) ?? errorMessage(error)}`,
    )
  }
}
