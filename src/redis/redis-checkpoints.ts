/**
 * Checkpoints in Redis: the records and locks of uploads, shared by many machines, so that one goes on
 * where another one ended. Bytes stay on the machine that took them.
 */
import { hostname } from 'node:os'
import type { CheckpointStore, RecordStore } from '../disk/record-store.js'
import type { SpoolDirectory } from '../disk/spool-directory.js'
import { checkInteger, invalidType, invalidValue } from '../errors.js'
import type { RedisConnection } from './connection.js'
import { HostRegistry } from './host-registry.js'
import { RedisKeys } from './keys.js'
import { RedisRecordStore } from './redis-record-store.js'

/** Options of `redisCheckpoints`. */
export interface RedisCheckpointOptions {
  /**
   * Name of this machine: 1 to 128 of `A-Za-z0-9._-`, one for each spool directory. Two directories of
   * one machine need two names. @default the system's host name
   */
  readonly host?: string
  /**
   * ms without a sign of life of any process of a host after which its disk is given up: its uploads
   * may be taken over. Longer than a reboot. 1,000 or more. @default 15 minutes
   */
  readonly hostTimeout?: number
  /**
   * ms that a lock lives beyond its last heartbeat, and that its owner goes on while Redis does not
   * answer. 300 or more. @default 30 seconds
   */
  readonly lockTimeout?: number
  /** What the names of all keys begin with; in braces on a cluster. @default 'oss-spool' */
  readonly prefix?: string
}

/** A store of checkpoints in Redis; one for each process and host name. */
export class RedisCheckpoints implements CheckpointStore {
  /** Name of this machine. */
  readonly host: string
  readonly #connection: RedisConnection
  readonly #keys: RedisKeys
  readonly #hostRegistry: HostRegistry
  readonly #lockTimeout: number

  /** @throws TypeError or RangeError for options that make no sense; nothing is sent yet */
  constructor(connection: RedisConnection, options: RedisCheckpointOptions = {}) {
    if (typeof connection?.call !== 'function') {
      throw invalidType('connection', 'an ioredis client', typeof connection)
    }
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

  /** @internal For `new Spool({ checkpoints })`. */
  recordStoreFor(spool: SpoolDirectory): RecordStore {
    const settings = {
      connection: this.#connection,
      keys: this.#keys,
      host: this.host,
      directory: spool.path,
      timeout: this.#lockTimeout,
    }
    return new RedisRecordStore(spool, settings, this.#hostRegistry)
  }

  /** Tells that this host lives, now and from now on; each upload does that, too. */
  announce(): Promise<void> {
    return this.#hostRegistry.announce()
  }

  /** Whether no process of `host` gave a sign of life for `hostTimeout`, or it was declared gone. */
  isGone(host: string): Promise<boolean> {
    checkHost(host)
    return this.#hostRegistry.isGone(host)
  }

  /**
   * Says that the disk of `host` will not come back: from now on its uploads may be taken over. If it
   * does live, that is over after `hostTimeout`; what was taken over meanwhile stays so.
   */
  declareGone(host: string): Promise<void> {
    checkHost(host)
    return this.#hostRegistry.declareGone(host)
  }

  /** Ends the signs of life of this process. The connection stays its owner's. */
  close(): void {
    this.#hostRegistry.close()
  }
}

/**
 * Keeps records and locks of uploads in Redis: `new Spool({ client, dir, checkpoints:
 * redisCheckpoints(new Redis(url)) })`.
 * @param connection an `ioredis` client; it stays its caller's, who closes it
 * @throws TypeError or RangeError for options that make no sense
 */
export function redisCheckpoints(
  connection: RedisConnection,
  options?: RedisCheckpointOptions,
): RedisCheckpoints {
  return new RedisCheckpoints(connection, options)
}

function checkHost(host: unknown): void {
  if (typeof host !== 'string') throw invalidType('host', 'a string', host)
  if (!/^[A-Za-z0-9._-]{1,128}$/.test(host)) {
    throw invalidValue('host', 'must be 1 to 128 of A-Za-z0-9._-', host)
  }
}
