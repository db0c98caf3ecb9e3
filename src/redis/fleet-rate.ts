/**
 * Rate limit shared by all machines: a token bucket in Redis. A process reserves bytes for a fraction of a
 * second with one script, which returns the time to wait for them. The bucket may become negative, so later
 * callers wait longer and no reservation is retried. Invariant: bytes are reserved before they are sent, so
 * nothing is sent while Redis does not respond.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { checkObject, checkProperties, invalidType } from '../errors.js'
import type { RateLimit } from '../oss/bucket.js'
import { checkRate } from '../oss/rate-limiter.js'
import { WaitQueue } from '../util/wait-queue.js'
import { sendCommand, type RedisConnection } from './connection.js'
import { RedisKeys } from './keys.js'

const MAX_FLEET_SLICE_BYTES = 64 * 1024
/** Capacity of the bucket and upper limit of a reservation, as ms at the full rate. */
const FLEET_BURST_MS = 250
/** A wait longer than this, in ms, means that our reservations are too large. */
const LONG_WAIT_MS = 1_000
/** Age in ms at which reserved but unsent bytes expire. */
const RESERVATION_EXPIRY_MS = 1_000
/** Timeout of a reservation, and delay before it is retried after a failure. */
const RESERVE_TIMEOUT_MS = 5_000
const RESERVE_RETRY_DELAY_MS = 500

const RESERVE_SCRIPT = `
local now = redis.call('time')
now = now[1] * 1000 + now[2] / 1000
local rate, burst, want = tonumber(ARGV[1]) / 1000, tonumber(ARGV[2]), tonumber(ARGV[3])
local was = redis.call('hmget', KEYS[1], 'bytes', 'at')
local left, at = tonumber(was[1]), tonumber(was[2])
local bytes = burst
if left and at then bytes = math.min(burst, left + math.max(0, now - at) * rate) end
bytes = bytes - want
redis.call('hset', KEYS[1], 'bytes', bytes, 'at', string.format('%.3f', now))
local wait = math.max(0, math.ceil(-bytes / rate))
redis.call('pexpire', KEYS[1], wait + 60000)
return wait`

/** Options of `fleetRate`. */
export interface FleetRateOptions {
  /** Prefix of the keys; processes with the same prefix share one limit. @default 'oss-spool' */
  readonly prefix?: string
}

class FleetRateLimit implements RateLimit {
  readonly slice: number
  readonly #connection: RedisConnection
  readonly #key: string
  readonly #bytesPerSecond: number
  readonly #capacity: number
  /** Size of the next reservation in bytes. */
  #nextReservationBytes: number
  #reservedBytes = 0
  #reservedAt = 0
  #isReserving = false
  readonly #queue = new WaitQueue()

  constructor(connection: RedisConnection, key: string, bytesPerSecond: number) {
    this.#connection = connection
    this.#key = key
    this.#bytesPerSecond = bytesPerSecond
    this.#capacity = Math.floor((bytesPerSecond * FLEET_BURST_MS) / 1000)
    this.slice = Math.min(MAX_FLEET_SLICE_BYTES, this.#capacity)
    this.#nextReservationBytes = this.#capacity
  }

  async take(bytes: number, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return
    const granted = this.#queue.join(bytes, signal, () => this.#grantWaiting())
    this.#grantWaiting()
    await granted
  }

  #grantWaiting(): void {
    if (performance.now() - this.#reservedAt > RESERVATION_EXPIRY_MS) this.#reservedBytes = 0
    for (;;) {
      const { nextBytes } = this.#queue
      if (nextBytes === undefined) return
      if (nextBytes > this.#reservedBytes) break
      this.#reservedBytes -= nextBytes
      this.#queue.grantNext()
    }
    if (!this.#isReserving) void this.#reserve()
  }

  async #reserve(): Promise<void> {
    this.#isReserving = true
    const reservationBytes = this.#nextReservationBytes
    try {
      const args = [1, this.#key, this.#bytesPerSecond, this.#capacity, reservationBytes]
      const waitMs = Number(
        await sendCommand(this.#connection, RESERVE_TIMEOUT_MS, 'EVAL', RESERVE_SCRIPT, ...args),
      )
      await sleep(waitMs)
      this.#reservedBytes += reservationBytes
      this.#reservedAt = performance.now()
      // The more machines share the rate, the less each one reserves at once.
      if (waitMs > LONG_WAIT_MS)
        this.#nextReservationBytes = Math.max(this.slice, Math.floor(reservationBytes / 2))
      else if (waitMs < FLEET_BURST_MS)
        this.#nextReservationBytes = Math.min(this.#capacity, reservationBytes * 2)
    } catch {
      await sleep(RESERVE_RETRY_DELAY_MS) // Redis is unavailable: the waiters keep waiting
    }
    this.#isReserving = false
    this.#grantWaiting()
  }
}

/**
 * Creates a limit on the total rate at which all machines send, for `new Spool({ maxRate })`.
 * @param connection – an `ioredis` client, closed by the caller
 * @param bytesPerSecond – total bytes per second, 1024 or more; use the same value on all machines
 * @throws TypeError or RangeError for invalid arguments
 */
export function fleetRate(
  connection: RedisConnection,
  bytesPerSecond: number,
  options: FleetRateOptions = {},
): RateLimit {
  if (typeof connection?.call !== 'function') {
    throw invalidType('connection', 'an ioredis client', typeof connection)
  }
  checkRate('bytesPerSecond', bytesPerSecond)
  checkObject('options', options)
  checkProperties('options', options, { prefix: true })
  const { prefix = 'oss-spool' } = options
  if (typeof prefix !== 'string') throw invalidType('prefix', 'a string', prefix)
  return new FleetRateLimit(connection, new RedisKeys(prefix).rateLimit, bytesPerSecond)
}
