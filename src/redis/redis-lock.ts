/**
 * The lock of one upload in Redis. Its value names the owner and has a fencing number that grows with
 * every owner; each change of a record is a script that compares it first, so whoever lost the lock,
 * however late he notices, cannot write. It lives `timeout` ms beyond its last heartbeat. The one who
 * holds it takes it for lost as soon as that time has passed by his own clock.
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
import type { RedisKeys } from './keys.js'

/** Who holds it, as Redis has it. */
interface LockHolder extends Owner {
  /** The spool directory: one of the same host and directory that has the kernel lock is its heir. */
  readonly directory: string
  /** ISO 8601, UTC. */
  readonly since: string
  readonly nonce: string
}

/** ms between two tries while Redis does not answer. */
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

/** Runs `change` only while the lock is ours; `KEYS[1]` is the lock, `ARGV[1]` our value. */
export function fencedScript(commands: string): string {
  return `if redis.call('get', KEYS[1]) ~= ARGV[1] then return 0 end
${commands}
return 1`
}

const RENEW_SCRIPT = fencedScript(`redis.call('pexpire', KEYS[1], ARGV[2])`)
const RELEASE_SCRIPT = fencedScript(`redis.call('del', KEYS[1])`)

/** What a lock is made of. */
export interface RedisLockSettings {
  readonly connection: RedisConnection
  readonly keys: RedisKeys
  readonly host: string
  /** Of the spool, on this host. */
  readonly directory: string
  /** ms that it lives beyond its last heartbeat. */
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
   * The caller has the kernel lock of the upload's directory: whoever owned this one from there is dead.
   * @returns `'owned'` when another one has it
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

  /** Aborted once it is lost; the reason is the `SpoolError` that all later changes reject with. */
  get lost(): AbortSignal {
    return this.#lostController.signal
  }

  /**
   * Makes a change while the lock is ours, trying again for as long as it certainly is.
   * @param script made by `fenced`; keys and values beyond the lock's are numbered from 2
   * @throws SpoolError `ERR_SPOOL_LOCKED`
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
        this.#markLost('another one has it by now')
      } catch (error) {
        if (!(error instanceof RedisError)) throw error
        if (this.#remainingMs() <= LOCK_RETRY_DELAY_MS) this.#markLost(error.message)
        else await sleep(LOCK_RETRY_DELAY_MS)
      }
    }
  }

  /** Frees it; nothing depends on that, since it ends by itself. */
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
    await released.catch(() => undefined) // then it ends with its time
  }

  #remainingMs(): number {
    return this.#expiresAt - performance.now()
  }

  /** Wakes also after the process was frozen: then both timers are due, and its time has passed. */
  #scheduleTimers(): void {
    clearTimeout(this.#expiryTimer)
    this.#expiryTimer = setTimeout(
      () => this.#markLost('Redis did not answer in time'),
      this.#remainingMs(),
    ).unref()
    this.#renewTimer = setTimeout(() => void this.#renew(), this.#settings.timeout / 3).unref()
  }

  async #renew(): Promise<void> {
    const renewedAt = performance.now()
    try {
      await this.runFenced(RENEW_SCRIPT, [], [this.#settings.timeout])
    } catch (error) {
      if (error instanceof SpoolError) return // it is lost, and those who must know do
      throw error
    }
    if (this.#isReleased) return
    this.#expiresAt = renewedAt + this.#settings.timeout
    this.#scheduleTimers()
  }

  #throwIfLost(): void {
    if (this.#remainingMs() <= 0) this.#markLost('its time has passed')
    if (this.lost.aborted) throw this.lost.reason
  }

  #markLost(reason: string): void {
    if (this.lost.aborted) return
    clearTimeout(this.#renewTimer)
    clearTimeout(this.#expiryTimer)
    const message = `The lock of upload ${this.#id} was lost: ${reason}; this process has stopped working on it`
    const hint = 'Run it again: whoever owns it now may have finished it.'
    const { host } = this.#settings
    this.#lostController.abort(
      new SpoolError('ERR_SPOOL_LOCKED', message, { id: this.#id, resumable: true, hint, host }),
    )
  }
}

/** The holder in a lock's value, `<fencing number> <holder>`. */
export function parseLockHolder(value: unknown): LockHolder | undefined {
  const text = stringReply(value)
  if (text === null) return undefined
  // Only `RedisLock` writes there.
  return JSON.parse(text.slice(text.indexOf(' ') + 1)) as LockHolder
}
