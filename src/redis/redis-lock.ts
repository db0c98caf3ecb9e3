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
import { ask, RedisFailure, textOf, textsOf, type RedisConnection } from './connection.js'
import type { Keys } from './keys.js'

/** Who holds it, as Redis has it. */
interface Holder extends Owner {
  /** The spool directory: one of the same host and directory that has the kernel lock is its heir. */
  readonly directory: string
  /** ISO 8601, UTC. */
  readonly since: string
  readonly nonce: string
}

/** ms between two tries while Redis does not answer. */
const PAUSE = 100

const ACQUIRE = `
local held = redis.call('get', KEYS[1])
if held then
  if string.sub(held, -string.len(ARGV[1])) == ARGV[1] then return { 1, held } end
  if ARGV[3] == '' or ARGV[3] ~= held then return { 0, held } end
end
local value = redis.call('incr', KEYS[2]) .. ' ' .. ARGV[1]
redis.call('set', KEYS[1], value, 'px', ARGV[2])
return { 1, value }`

/** Runs `change` only while the lock is ours; `KEYS[1]` is the lock, `ARGV[1]` our value. */
export function fenced(change: string): string {
  return `if redis.call('get', KEYS[1]) ~= ARGV[1] then return 0 end
${change}
return 1`
}

const RENEW = fenced(`redis.call('pexpire', KEYS[1], ARGV[2])`)
const RELEASE = fenced(`redis.call('del', KEYS[1])`)

/** What a lock is made of. */
export interface LockSettings {
  readonly connection: RedisConnection
  readonly keys: Keys
  readonly host: string
  /** Of the spool, on this host. */
  readonly directory: string
  /** ms that it lives beyond its last heartbeat. */
  readonly timeout: number
}

export class RedisLock {
  readonly #settings: LockSettings
  readonly #id: string
  readonly #value: string
  readonly #lost = new AbortController()
  #until: number
  #beat: NodeJS.Timeout | undefined
  #end: NodeJS.Timeout | undefined
  #ended = false

  private constructor(settings: LockSettings, id: string, value: string, from: number) {
    this.#settings = settings
    this.#id = id
    this.#value = value
    this.#until = from + settings.timeout
    this.#schedule()
  }

  /**
   * The caller has the kernel lock of the upload's directory: whoever owned this one from there is dead.
   * @returns `'owned'` when another one has it
   */
  static async acquire(settings: LockSettings, id: string): Promise<RedisLock | 'owned'> {
    const { connection, keys, host, directory, timeout } = settings
    const since = new Date().toISOString()
    const me: Holder = { pid: process.pid, host, directory, since, nonce: randomUUID() }
    let dead = ''
    for (;;) {
      const from = performance.now()
      const names = [keys.lock(id), keys.fence]
      const values = [JSON.stringify(me), timeout, dead]
      const reply = await ask(connection, timeout, 'EVAL', ACQUIRE, 2, ...names, ...values)
      const [got, value = ''] = textsOf(reply)
      if (got === '1') return new RedisLock(settings, id, value, from)
      const holder = parseHolder(value)
      const isHeir = holder?.host === host && holder.directory === directory
      if (!isHeir || dead === value) return 'owned'
      dead = value
    }
  }

  /** Aborted once it is lost; the reason is the `SpoolError` that all later changes reject with. */
  get lost(): AbortSignal {
    return this.#lost.signal
  }

  /**
   * Makes a change while the lock is ours, trying again for as long as it certainly is.
   * @param script made by `fenced`; keys and values beyond the lock's are numbered from 2
   * @throws SpoolError `ERR_SPOOL_LOCKED`
   */
  async change(
    script: string,
    keys: readonly string[],
    values: readonly (string | number)[],
  ): Promise<void> {
    const { connection } = this.#settings
    const names = [this.#settings.keys.lock(this.#id), ...keys]
    for (;;) {
      this.#refuseIfLost()
      try {
        const args = [script, names.length, ...names, this.#value, ...values]
        const done = await ask(connection, this.#left(), 'EVAL', ...args)
        if (done === 1) return
        this.#lose('another one has it by now')
      } catch (error) {
        if (!(error instanceof RedisFailure)) throw error
        if (this.#left() <= PAUSE) this.#lose(error.message)
        else await sleep(PAUSE)
      }
    }
  }

  /** Frees it; nothing depends on that, since it ends by itself. */
  async release(): Promise<void> {
    this.#ended = true
    clearTimeout(this.#beat)
    clearTimeout(this.#end)
    if (this.lost.aborted) return
    const { connection, keys } = this.#settings
    const patience = Math.min(this.#left(), 1_000)
    const freeing = ask(connection, patience, 'EVAL', RELEASE, 1, keys.lock(this.#id), this.#value)
    await freeing.catch(() => undefined) // then it ends with its time
  }

  #left(): number {
    return this.#until - performance.now()
  }

  /** Wakes also after the process was frozen: then both timers are due, and its time has passed. */
  #schedule(): void {
    clearTimeout(this.#end)
    this.#end = setTimeout(() => this.#lose('Redis did not answer in time'), this.#left()).unref()
    this.#beat = setTimeout(() => void this.#renew(), this.#settings.timeout / 3).unref()
  }

  async #renew(): Promise<void> {
    const from = performance.now()
    try {
      await this.change(RENEW, [], [this.#settings.timeout])
    } catch (error) {
      if (error instanceof SpoolError) return // it is lost, and those who must know do
      throw error
    }
    if (this.#ended) return
    this.#until = from + this.#settings.timeout
    this.#schedule()
  }

  #refuseIfLost(): void {
    if (this.#left() <= 0) this.#lose('its time has passed')
    if (this.lost.aborted) throw this.lost.reason
  }

  #lose(why: string): void {
    if (this.lost.aborted) return
    clearTimeout(this.#beat)
    clearTimeout(this.#end)
    const message = `The lock of upload ${this.#id} was lost: ${why}; this process has stopped working on it`
    const hint = 'Run it again: whoever owns it now may have finished it.'
    const { host } = this.#settings
    this.#lost.abort(
      new SpoolError('ERR_SPOOL_LOCKED', message, { id: this.#id, resumable: true, hint, host }),
    )
  }
}

/** The holder in a lock's value, `<fencing number> <holder>`. */
export function parseHolder(value: unknown): Holder | undefined {
  const text = textOf(value)
  if (text === null) return undefined
  // Only `RedisLock` writes there.
  return JSON.parse(text.slice(text.indexOf(' ') + 1)) as Holder
}
