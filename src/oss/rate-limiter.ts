/**
 * Rate limiting: paces request bodies slice by slice, and implements the limit of a spool as a token bucket that
 * all its requests share. Invariants: a burst is at most about 150 ms worth of bytes, waiting requests are
 * served in order, and a wait ends with its request.
 */
import { invalidType, outOfRange } from '../errors.js'
import type { UploadBody, RateLimit } from './bucket.js'
import { WaitQueue } from '../util/wait-queue.js'

/** Capacity of the bucket, in ms at the full rate. A slice is half of it. */
const BURST_MS = 100
const MAX_SLICE_BYTES = 64 * 1024

/** A rate-limited body and its accumulated delay. */
export interface PacedBody {
  readonly body: UploadBody
  readonly delay: PacingDelay
}

/** Time that a body spent waiting for the rate limit, which must not count as network time. */
export class PacingDelay {
  #total = 0
  #since: number | undefined

  /** Whether the body is waiting now. */
  get waiting(): boolean {
    return this.#since !== undefined
  }

  /** Total in ms, including the current wait. */
  get total(): number {
    return this.#total + (this.#since === undefined ? 0 : performance.now() - this.#since)
  }

  /** Adds the time until `turn` resolves. */
  async measure(turn: Promise<void>): Promise<void> {
    this.#since = performance.now()
    await turn
    this.#total = this.total
    this.#since = undefined
  }
}

/** Splits `source` into slices that each wait for all `limits`. Ends early when `signal` is aborted. */
export function pace(
  limits: readonly RateLimit[],
  source: UploadBody | Buffer,
  signal: AbortSignal,
): PacedBody {
  const delay = new PacingDelay()
  return { body: slices(limits, source, delay, signal), delay }
}

async function* slices(
  limits: readonly RateLimit[],
  source: UploadBody | Buffer,
  delay: PacingDelay,
  signal: AbortSignal,
): AsyncGenerator<Buffer> {
  const most = Math.min(...limits.map(limit => limit.slice))
  for await (const chunk of Buffer.isBuffer(source) ? [source] : source) {
    for (let at = 0; at < chunk.length; at += most) {
      const slice = chunk.subarray(at, at + most)
      for (const limit of limits) {
        await delay.measure(limit.take(slice.length, signal))
        if (signal.aborted) return
      }
      yield slice
    }
  }
}

export class TokenBucket implements RateLimit {
  readonly slice: number
  readonly #bytesPerMs: number
  readonly #capacity: number
  #tokens: number
  #refilledAt = performance.now()
  readonly #queue = new WaitQueue()
  #timer: NodeJS.Timeout | undefined

  /** @param bytesPerSecond – 1024 or more */
  constructor(bytesPerSecond: number) {
    this.#bytesPerMs = bytesPerSecond / 1000
    this.slice = Math.min(MAX_SLICE_BYTES, Math.floor((this.#bytesPerMs * BURST_MS) / 2))
    this.#capacity = this.#bytesPerMs * BURST_MS
    this.#tokens = this.slice
  }

  async take(bytes: number, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return
    this.#refill()
    if (this.#queue.nextBytes === undefined && this.#tokens >= bytes) {
      this.#tokens -= bytes
      return
    }
    const turn = this.#queue.join(bytes, signal, () => this.#grantWaiting())
    this.#grantWaiting()
    await turn
  }

  #refill(): void {
    const now = performance.now()
    this.#tokens = Math.min(
      this.#capacity,
      this.#tokens + (now - this.#refilledAt) * this.#bytesPerMs,
    )
    this.#refilledAt = now
  }

  #grantWaiting(): void {
    clearTimeout(this.#timer)
    this.#refill()
    for (;;) {
      const bytes = this.#queue.nextBytes
      if (bytes === undefined) return
      const missing = bytes - this.#tokens
      if (missing > 0) {
        this.#timer = setTimeout(() => this.#grantWaiting(), Math.ceil(missing / this.#bytesPerMs))
        return
      }
      this.#tokens -= bytes
      this.#queue.grantNext()
    }
  }
}

/** @throws TypeError or RangeError if it is not a rate of at least 1 KiB/s; lower rates are almost certainly typos */
export function checkRate(name: string, bytesPerSecond: unknown): void {
  if (typeof bytesPerSecond !== 'number') throw invalidType(name, 'a number', bytesPerSecond)
  if (!(bytesPerSecond >= 1024 && bytesPerSecond <= Number.MAX_SAFE_INTEGER)) {
    throw outOfRange(name, '>= 1024 bytes/s', bytesPerSecond)
  }
}
