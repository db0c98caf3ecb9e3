/**
 * Rate limits: what bodies wait for, slice by slice, and the one of a spool: a token bucket that all its
 * requests draw from. What always holds: no more than about 150 ms worth of bytes goes out at once,
 * those who wait are served in turn, and a wait ends with the request it belongs to.
 */
import { invalidType, outOfRange } from '../errors.js'
import type { UploadBody, RateLimit } from './bucket.js'
import { WaitQueue } from '../util/wait-queue.js'

/** The bucket holds what flows in so many ms; a slice is half of that. */
const BURST_MS = 100
const MAX_SLICE_BYTES = 64 * 1024

/** A body under a rate limit, and how long it was held back. */
export interface PacedBody {
  readonly body: UploadBody
  readonly delay: PacingDelay
}

/** The time a body spent waiting for its turn: not the line's fault. */
export class PacingDelay {
  #total = 0
  #since: number | undefined

  /** True while it waits. */
  get waiting(): boolean {
    return this.#since !== undefined
  }

  /** ms, up to now. */
  get total(): number {
    return this.#total + (this.#since === undefined ? 0 : performance.now() - this.#since)
  }

  /** Counts the time until `turn` comes. */
  async measure(turn: Promise<void>): Promise<void> {
    this.#since = performance.now()
    await turn
    this.#total = this.total
    this.#since = undefined
  }
}

/** `source` in slices, each when all `limits` let it; ended early when `signal` is aborted. */
export function pace(
  limits: readonly RateLimit[],
  source: UploadBody | Buffer,
  signal: AbortSignal,
): PacedBody {
  const waits = new PacingDelay()
  return { body: slices(limits, source, waits, signal), delay: waits }
}

async function* slices(
  limits: readonly RateLimit[],
  source: UploadBody | Buffer,
  waits: PacingDelay,
  signal: AbortSignal,
): AsyncGenerator<Buffer> {
  const most = Math.min(...limits.map(limit => limit.slice))
  for await (const chunk of Buffer.isBuffer(source) ? [source] : source) {
    for (let at = 0; at < chunk.length; at += most) {
      const slice = chunk.subarray(at, at + most)
      for (const limit of limits) {
        await waits.measure(limit.take(slice.length, signal))
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

  /** `bytesPerSecond`: 1024 or more. */
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

/** @throws TypeError or RangeError for what is no limit; one below would stop everything */
export function checkRate(name: string, bytesPerSecond: unknown): void {
  if (typeof bytesPerSecond !== 'number') throw invalidType(name, 'a number', bytesPerSecond)
  if (!(bytesPerSecond >= 1024 && bytesPerSecond <= Number.MAX_SAFE_INTEGER)) {
    throw outOfRange(name, '>= 1024 bytes/s', bytesPerSecond)
  }
}
