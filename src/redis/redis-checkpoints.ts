/**
 * Checkpoints in Redis: records and locks of uploads are shared by all machines, so that one machine can
 * continue the upload of another. Bytes stay on the machine that received them.
 */
import { hostname } from 'node:os'
import type { CheckpointStore, RecordStore } from '../disk/record-store.js'
import type { SharedSpoolDirectory } from '../disk/shared-spool-directory.js'
import { checkInteger, checkObject, checkProperties, invalidType, invalidValue } from '../errors.js'
import type { RedisConnection } from './connection.js'
import { HostRegistry, isHostName } from './host-registry.js'
import { RedisKeys } from './keys.js'
import { RedisRecordStore } from './redis-record-store.js'

/** Options of `redisCheckpoints`. */
export interface RedisCheckpointOptions {
  /**
   * Name of this host: 1 to 128 of `A-Za-z0-9._-`, unique for each spool directory. Two directories on one
   * machine need two names. @default the system's host name
   */
  readonly host?: string
  /**
   * Time in ms without a heartbeat from any process of a host after which the host is considered gone and its
   * uploads may be taken over, 1,000 or more. Choose it longer than a reboot. @default 15 minutes
   */
  readonly hostTimeout?: number
  /**
   * Time in ms that a lock outlives its last heartbeat, and for which its owner continues while Redis does not
   * respond, 300 or more. @default 30 seconds
   */
  readonly lockTimeout?: number
  /** Prefix of all keys. Put it in braces on a Redis cluster. @default 'oss-spool' */
  readonly prefix?: string
}

/** Names of the options. The compiler checks that none is missing. */
const CHECKPOINT_OPTIONS: Readonly<Record<keyof RedisCheckpointOptions, true>> = {
  host: true,
  hostTimeout: true,
  lockTimeout: true,
  prefix: true,
}

/** Checkpoint store in Redis. Create one per process and host name. */
export class RedisCheckpoints implements CheckpointStore {
  /** Name of this host. */
  readonly host: string
  readonly #connection: RedisConnection
  readonly #keys: RedisKeys
  readonly #hostRegistry: HostRegistry
  readonly #lockTimeout: number

  /** Sends nothing yet. @throws TypeError or RangeError for invalid options */
  constructor(connection: RedisConnection, options: RedisCheckpointOptions = {}) {
    if (typeof connection?.call !== 'function') {
      throw invalidType('connection', 'an ioredis client', typeof connection)
    }
    checkObject('options', options)
    checkProperties('options', options, CHECKPOINT_OPTIONS)
    const { host = hostname(), prefix = 'oss-spool' } = options
    const { hostTimeout = 15 * 60_000, lockTimeout = 30_000 } = options
    checkHost(host)
    if (typeof prefix !== 'string') throw invalidType('prefix', 'a string', prefix)
    checkInteger('hostTimeout', hostTimeout, 1_000, 2 ** 31 - 1)
    checkInteger('lockTimeout', lockTimeout, 300, 2 ** 31 - 1)
    this.host = host
    this.#connection = connection
    this.#keys = new RedisKeys(prefix)
    this.#lockTimeout = lockTimeout
    this.#hostRegistry = new HostRegistry(connection, this.#keys, host, hostTimeout)
  }

  /** Identifies a checkpoint store. */
  readonly kind = 'checkpoint-store'

  /** @internal Used by `new Spool({ checkpointStore })`. */
  recordStoreFor(spool: SharedSpoolDirectory): RecordStore {
    const settings = {
      connection: this.#connection,
      keys: this.#keys,
      host: this.host,
      directory: spool.path,
      timeout: this.#lockTimeout,
    }
    return new RedisRecordStore(spool, settings, this.#hostRegistry)
  }

  /**
   * Marks this host as alive and starts its heartbeats. Resolves when the first one is recorded. Each upload
   * also does this.
   */
  announce(): Promise<void> {
    return this.#hostRegistry.announce()
  }

  /** Returns whether `host` has sent no heartbeat for `hostTimeout`, or was declared gone. */
  isGone(host: string): Promise<boolean> {
    checkHost(host)
    return this.#hostRegistry.isGone(host)
  }

  /**
   * Declares that the disk of `host` is lost, so that its uploads may be taken over immediately. If the host is
   * in fact alive, the declaration expires after `hostTimeout`; uploads taken over meanwhile stay taken over.
   */
  declareGone(host: string): Promise<void> {
    checkHost(host)
    return this.#hostRegistry.declareGone(host)
  }

  /** Stops the heartbeats of this process. The caller closes the connection. */
  close(): void {
    this.#hostRegistry.close()
  }
}

/**
 * Creates a store that keeps the records and locks of uploads in Redis: `new Spool({ client, dir,
 * checkpointStore: redisCheckpoints(new Redis(url)) })`. Sends nothing yet.
 * @param connection – an `ioredis` client, closed by the caller
 * @throws TypeError or RangeError for invalid options
 */
export function redisCheckpoints(
  connection: RedisConnection,
  options?: RedisCheckpointOptions,
): RedisCheckpoints {
  return new RedisCheckpoints(connection, options)
}

function checkHost(host: unknown): void {
  if (typeof host !== 'string') throw invalidType('host', 'a string', host)
  if (!isHostName(host)) {
    throw invalidValue('host', 'must be 1 to 128 of A-Za-z0-9._-', host)
  }
}
