/**
 * Which hosts live. Each keeps a key in Redis alive; one whose key is gone, because no process of it
 * told of itself for `timeout` ms or because its operator said so, will not come back: whatever was on
 * its disk is given up.
 */
import { sendCommand, RedisError, type RedisConnection } from './connection.js'
import type { RedisKeys } from './keys.js'

export class HostRegistry {
  readonly #connection: RedisConnection
  readonly #keys: RedisKeys
  readonly #hostTimeout: number
  readonly #host: string
  #announced: Promise<void> | undefined
  #heartbeatTimer: NodeJS.Timeout | undefined

  constructor(connection: RedisConnection, keys: RedisKeys, host: string, hostTimeout: number) {
    this.#connection = connection
    this.#keys = keys
    this.#host = host
    this.#hostTimeout = hostTimeout
  }

  /** Resolves when this host is known to live; from then on it is told again and again. */
  announce(): Promise<void> {
    return (this.#announced ??= this.#sendHeartbeat().then(
      () => {
        this.#heartbeatTimer = setInterval(() => {
          this.#sendHeartbeat().catch(() => undefined) // the next one is soon
        }, this.#hostTimeout / 4).unref()
      },
      (error: unknown) => {
        this.#announced = undefined
        throw error
      },
    ))
  }

  async isGone(host: string): Promise<boolean> {
    if ((await this.#sendCommand('EXISTS', this.#keys.goneHost(host))) === 1) return true
    return (await this.#sendCommand('EXISTS', this.#keys.hostHeartbeat(host))) === 0
  }

  /** For as long as its last sign of life would have counted. */
  async declareGone(host: string): Promise<void> {
    await this.#sendCommand('SET', this.#keys.goneHost(host), '1', 'PX', this.#hostTimeout)
  }

  /** This process does not tell of its host any more; others of it may. */
  close(): void {
    clearInterval(this.#heartbeatTimer)
  }

  async #sendHeartbeat(): Promise<void> {
    const value = JSON.stringify({ pid: process.pid, at: new Date().toISOString() })
    const reply = await this.#sendCommand(
      'SET',
      this.#keys.hostHeartbeat(this.#host),
      value,
      'PX',
      this.#hostTimeout,
    )
    if (reply !== 'OK') throw new RedisError('Redis did not take the sign of life')
  }

  #sendCommand(command: string, ...args: (string | number)[]): Promise<unknown> {
    return sendCommand(this.#connection, this.#hostTimeout, command, ...args)
  }
}
