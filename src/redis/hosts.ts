/**
 * Which hosts live. Each keeps a key in Redis alive; one whose key is gone, because no process of it
 * told of itself for `timeout` ms or because its operator said so, will not come back: whatever was on
 * its disk is given up.
 */
import { ask, RedisFailure, type RedisConnection } from './connection.js'
import type { Keys } from './keys.js'

export class Hosts {
  readonly #connection: RedisConnection
  readonly #keys: Keys
  readonly #timeout: number
  readonly #host: string
  #told: Promise<void> | undefined
  #timer: NodeJS.Timeout | undefined

  constructor(connection: RedisConnection, keys: Keys, host: string, timeout: number) {
    this.#connection = connection
    this.#keys = keys
    this.#host = host
    this.#timeout = timeout
  }

  /** Resolves when this host is known to live; from then on it is told again and again. */
  announce(): Promise<void> {
    return (this.#told ??= this.#tell().then(
      () => {
        this.#timer = setInterval(() => {
          this.#tell().catch(() => undefined) // the next one is soon
        }, this.#timeout / 4).unref()
      },
      (error: unknown) => {
        this.#told = undefined
        throw error
      },
    ))
  }

  async isGone(host: string): Promise<boolean> {
    if ((await this.#ask('EXISTS', this.#keys.gone(host))) === 1) return true
    return (await this.#ask('EXISTS', this.#keys.host(host))) === 0
  }

  /** For as long as its last sign of life would have counted. */
  async declareGone(host: string): Promise<void> {
    await this.#ask('SET', this.#keys.gone(host), '1', 'PX', this.#timeout)
  }

  /** This process does not tell of its host any more; others of it may. */
  close(): void {
    clearInterval(this.#timer)
  }

  async #tell(): Promise<void> {
    const value = JSON.stringify({ pid: process.pid, at: new Date().toISOString() })
    const done = await this.#ask('SET', this.#keys.host(this.#host), value, 'PX', this.#timeout)
    if (done !== 'OK') throw new RedisFailure('Redis did not take the sign of life')
  }

  #ask(command: string, ...args: (string | number)[]): Promise<unknown> {
    return ask(this.#connection, this.#timeout, command, ...args)
  }
}
