/**
 * One rate limit for all machines: a token bucket in Redis. A process reserves bytes for a fraction of
 * a second with one script, and is told how long to wait for them; the bucket may go below zero, so
 * whoever asks later waits longer, and nobody asks twice. What always holds: all that is sent was
 * reserved before, and while Redis does not answer nothing is.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { invalidType } from '../errors.js'
import type { RateLimit } from '../oss/bucket.js'
import { checkRate } from '../oss/rate-limiter.js'
import { WaitQueue } from '../util/wait-queue.js'
import { sendCommand, type RedisConnection } from './connection.js'
import { RedisKeys } from './keys.js'

const MAX_FLEET_SLICE_BYTES = 64 * 1024
/** The bucket holds what flows in so many ms, and no reservation is for more. */
const FLEET_BURST_MS = 250
/** A wait beyond this, in ms: we ask for too much at a time. */
const LONG_WAIT_MS = 1_000
/** ms after which bytes that were reserved and not sent are forgotten. */
const RESERVATION_EXPIRY_MS = 1_000
/** ms that Redis may take, and until it is asked again when it failed. */
const RESERVE_TIMEOUT_MS = 5_000
const RESERVE_RETRY_DELAY_MS = 500

const RESERVE_SCRIPT = `
local now = redis.call('time')
now = now[1] * 1000 + now[2] / 1000
local rate, burst, want = tonumber(ARGV[1]) / 1000, tonumber(ARGV[2]), tonumber(ARGV[3])
local was = redis.call('hmget', KEYS[1], 'bytes', 'at')
local bytes = burst
if was[1] then bytes = math.min(burst, was[1] + math.max(0, now - was[2]) * rate) end
bytes = bytes - want
redis.call('hset', KEYS[1], 'bytes', bytes, 'at', string.format('%.3f', now))
local wait = math.max(0, math.ceil(-bytes / rate))
redis.call('pexpire', KEYS[1], wait + 60000)
return wait`

/** Options of `fleetRate`. */
export interface FleetRateOptions {
  /** What the names of keys begin with: one limit for all that have it in common. @default 'oss-spool' */
  readonly prefix?: string
}

class FleetRateLimit implements RateLimit {
  readonly slice: number
  readonly #connection: RedisConnection
  readonly #key: string
  readonly #bytesPerSecond: number
  readonly #capacity: number
  /** Bytes of the next reservation. */
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
      // The more machines share the rate, the less each takes at a time.
      if (waitMs > LONG_WAIT_MS)
        this.#nextReservationBytes = Math.max(this.slice, Math.floor(reservationBytes / 2))
      else if (waitMs < FLEET_BURST_MS)
        this.#nextReservationBytes = Math.min(this.#capacity, reservationBytes * 2)
    } catch {
      await sleep(RESERVE_RETRY_DELAY_MS) // Redis is away: whoever waits goes on waiting
    }
    this.#isReserving = false
    this.#grantWaiting()
  }
}

/**
 * A limit of what all machines send together, for `new Spool({ fleetRate })`.
 * @param connection an `ioredis` client; it stays its caller's
 * @param bytesPerSecond 1024 or more; all machines should say the same
 * @throws TypeError or RangeError
 */
export function fleetRate(
  connection: RedisConnection,
  bytesPerSecond: number,
  { prefix = 'oss-spool' }: FleetRateOptions = {},
): RateLimit {
  if (typeof connection?.call !== 'function') {
    throw invalidType('connection', 'an ioredis client', typeof connection)
  }
  checkRate('bytesPerSecond', bytesPerSecond)
  return new FleetRateLimit(connection, new RedisKeys(prefix).rateLimit, bytesPerSecond)
}
