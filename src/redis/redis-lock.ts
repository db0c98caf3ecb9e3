/**
 * The lock of one upload in Redis. Its value names the owner and has a fencing number that grows with every
 * owner. Each change of a record is a script that compares the value first, so a process that has lost the lock
 * cannot write, however late it notices. The lock expires `timeout` ms after its last heartbeat. The holder
 * treats it as lost once that time has elapsed on its own clock.
 */
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Owner } from '../disk/lock.js'
import { SpoolError } from '../errors.js'
import {
  sendCommand,
  RedisError,
  stringReply,
  stringListReply,
  type RedisConnection,
} from './connection.js'
import { isHostName } from './host-registry.js'
import type { RedisKeys } from './keys.js'

/** Holder of a lock, as stored in Redis. */
interface LockHolder extends Owner {
  /**
   * The spool directory. A process of the same host and directory that holds the kernel lock may take over the
   * lock.
   */
  readonly directory: string
  /** Time of acquisition: ISO 8601, UTC. */
  readonly since: string
  readonly nonce: string
}

/** Delay between retries while Redis does not respond. */
const LOCK_RETRY_DELAY_MS = 100

const ACQUIRE_SCRIPT = `
local held = redis.call('get', KEYS[1])
if held then
  if string.sub(held, -string.len(ARGV[1])) == ARGV[1] then return { 1, held } end
  if ARGV[3] == '' or ARGV[3] ~= held then return { 0, held } end
end
local value = redis.call('incr', KEYS[2]) .. ' ' .. ARGV[1]
redis.call('set', KEYS[1], value, 'px', ARGV[2])
return { 1, value }`

/** Wraps commands in a script that runs them only if the lock (`KEYS[1]`) has our value (`ARGV[1]`). */
export function fencedScript(commands: string): string {
  return `if redis.call('get', KEYS[1]) ~= ARGV[1] then return 0 end
${commands}
return 1`
}

const RENEW_SCRIPT = fencedScript(`redis.call('pexpire', KEYS[1], ARGV[2])`)
const RELEASE_SCRIPT = fencedScript(`redis.call('del', KEYS[1])`)

/** Settings shared by the locks of one spool. */
export interface RedisLockSettings {
  readonly connection: RedisConnection
  readonly keys: RedisKeys
  readonly host: string
  /** Path of the spool directory on this host. */
  readonly directory: string
  /** ms for which a lock outlives its last heartbeat. */
  readonly timeout: number
}

export class RedisLock {
  readonly #settings: RedisLockSettings
  readonly #id: string
  readonly #value: string
  readonly #lostController = new AbortController()
  #expiresAt: number
  #renewTimer: NodeJS.Timeout | undefined
  #expiryTimer: NodeJS.Timeout | undefined
  #isReleased = false

  private constructor(settings: RedisLockSettings, id: string, value: string, acquiredAt: number) {
    this.#settings = settings
    this.#id = id
    this.#value = value
    this.#expiresAt = acquiredAt + settings.timeout
    this.#scheduleTimers()
  }

  /**
   * Acquires the lock of an upload. The caller holds the kernel lock of the upload's directory, which proves
   * that a previous holder with the same directory is dead.
   * @returns `'owned'` if another process holds the lock
   */
  static async acquire(settings: RedisLockSettings, id: string): Promise<RedisLock | 'owned'> {
    const { connection, keys, host, directory, timeout } = settings
    const since = new Date().toISOString()
    const ownHolder: LockHolder = { pid: process.pid, host, directory, since, nonce: randomUUID() }
    let deadHolderValue = ''
    for (;;) {
      const acquiredAt = performance.now()
      const keyNames = [keys.lock(id), keys.fencingCounter]
      const values = [JSON.stringify(ownHolder), timeout, deadHolderValue]
      const reply = await sendCommand(
        connection,
        timeout,
        'EVAL',
        ACQUIRE_SCRIPT,
        2,
        ...keyNames,
        ...values,
      )
      const [acquired, value = ''] = stringListReply(reply)
      if (acquired === '1') return new RedisLock(settings, id, value, acquiredAt)
      const holder = parseLockHolder(value)
      const isSameDirectory = holder?.host === host && holder.directory === directory
      if (!isSameDirectory || deadHolderValue === value) return 'owned'
      deadHolderValue = value
    }
  }

  /** Aborted when the lock is lost. All later changes reject with its reason, a `SpoolError`. */
  get lost(): AbortSignal {
    return this.#lostController.signal
  }

  /**
   * Runs a change while we hold the lock. Retries failures until the lock may have expired.
   * @param script – result of `fencedScript`; its `KEYS` and `ARGV` for `keys` and `values` start at 2
   * @throws SpoolError `ERR_SPOOL_LOCKED` if the lock is lost
   */
  async runFenced(
    script: string,
    keys: readonly string[],
    values: readonly (string | number)[],
  ): Promise<void> {
    const { connection } = this.#settings
    const keyNames = [this.#settings.keys.lock(this.#id), ...keys]
    for (;;) {
      this.#throwIfLost()
      try {
        const args = [script, keyNames.length, ...keyNames, this.#value, ...values]
        const reply = await sendCommand(connection, this.#remainingMs(), 'EVAL', ...args)
        if (reply === 1) return
        this.#markLost('another process has acquired it')
      } catch (error) {
        if (!(error instanceof RedisError)) throw error
        if (this.#remainingMs() <= LOCK_RETRY_DELAY_MS) this.#markLost(error.message)
        else await sleep(LOCK_RETRY_DELAY_MS)
      }
    }
  }

  /** Releases the lock. Best effort, because the lock also expires. */
  async release(): Promise<void> {
    this.#isReleased = true
    clearTimeout(this.#renewTimer)
    clearTimeout(this.#expiryTimer)
    if (this.lost.aborted) return
    const { connection, keys } = this.#settings
    const timeout = Math.min(this.#remainingMs(), 1_000)
    const released = sendCommand(
      connection,
      timeout,
      'EVAL',
      RELEASE_SCRIPT,
      1,
      keys.lock(this.#id),
      this.#value,
    )
    await released.catch(() => undefined) // the lock expires instead
  }

  #remainingMs(): number {
    return this.#expiresAt - performance.now()
  }

  /** Timers also fire after the process was frozen; both are then due, and the lock has expired. */
  #scheduleTimers(): void {
    clearTimeout(this.#expiryTimer)
    this.#expiryTimer = setTimeout(
      () => this.#markLost('Redis did not respond in time'),
      this.#remainingMs(),
    ).unref()
    this.#renewTimer = setTimeout(() => void this.#renew(), this.#settings.timeout / 3).unref()
  }

  async #renew(): Promise<void> {
    const renewedAt = performance.now()
    try {
      await this.runFenced(RENEW_SCRIPT, [], [this.#settings.timeout])
    } catch (error) {
      if (error instanceof SpoolError) return // the lock is lost, which is reported by `lost`
      throw error
    }
    if (this.#isReleased) return
    this.#expiresAt = renewedAt + this.#settings.timeout
    this.#scheduleTimers()
  }

  #throwIfLost(): void {
    if (this.#remainingMs() <= 0) this.#markLost('it has expired')
    if (this.lost.aborted) throw this.lost.reason
  }

  #markLost(reason: string): void {
    if (this.lost.aborted) return
    clearTimeout(this.#renewTimer)
    clearTimeout(this.#expiryTimer)
    const message = `The lock of upload ${this.#id} was lost: ${reason}. This process has stopped working on the upload`
    const hint = 'Run the upload again. Its new owner may have finished it.'
    const { host } = this.#settings
    this.#lostController.abort(
      new SpoolError('ERR_SPOOL_LOCKED', message, { id: this.#id, resumable: true, hint, host }),
    )
  }
}

/**
 * Parses the value of a lock, `<fencing number> <holder>`. Returns `undefined` for any other value: that lock is never
 * taken over, because a later version may have written it.
 */
export function parseLockHolder(value: unknown): LockHolder | undefined {
  const text = stringReply(value)
  if (text === null) return undefined
  const holder = parseJson(text.slice(text.indexOf(' ') + 1))
  return isLockHolder(holder) ? holder : undefined
}

function isLockHolder(value: unknown): value is LockHolder {
  if (typeof value !== 'object' || value === null) return false
  const { pid, host, directory }: Partial<Record<keyof LockHolder, unknown>> = value
  return Number.isSafeInteger(pid) && isHostName(host) && typeof directory === 'string'
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
