/**
 * Host liveness. Each host keeps a Redis key alive with heartbeats. A host counts as gone for good when its key
 * has expired because no process has sent a heartbeat for `hostTimeout` ms, or when an operator has declared it
 * gone; the bytes on its disk are then considered lost.
 */
import { sendCommand, RedisError, type RedisConnection } from './connection.js'
import type { RedisKeys } from './keys.js'

/** Returns whether `host` can be the name of a host. Names in Redis may be anything. */
export function isHostName(host: unknown): host is string {
  return typeof host === 'string' && /^[A-Za-z0-9._-]{1,128}$/.test(host)
}

/** Maximum interval of heartbeats in ms. If Redis loses its data, a host counts as gone for at most this long. */
const MAX_HEARTBEAT_INTERVAL_MS = 15_000

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

  /** Sends a heartbeat for this host and repeats it periodically. Resolves when the first one is recorded. */
  announce(): Promise<void> {
    const interval = Math.min(this.#hostTimeout / 4, MAX_HEARTBEAT_INTERVAL_MS)
    return (this.#announced ??= this.#sendHeartbeat().then(
      () => {
        this.#heartbeatTimer = setInterval(() => {
          this.#sendHeartbeat().catch(() => undefined) // the next heartbeat follows soon
        }, interval).unref()
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

  /** Marks a host as gone for `hostTimeout` ms, the time for which a heartbeat counts. */
  async declareGone(host: string): Promise<void> {
    await this.#sendCommand('SET', this.#keys.goneHost(host), '1', 'PX', this.#hostTimeout)
  }

  /** Stops the heartbeats of this process. Other processes of the host continue theirs. */
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
    if (reply !== 'OK') throw new RedisError('Redis did not record the heartbeat')
  }

  #sendCommand(command: string, ...args: (string | number)[]): Promise<unknown> {
    return sendCommand(this.#connection, this.#hostTimeout, command, ...args)
  }
}
