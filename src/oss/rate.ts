/**
 * Rate limits: what bodies wait for, slice by slice, and the one of a spool: a token bucket that all its
 * requests draw from. What always holds: no more than about 150 ms worth of bytes goes out at once,
 * those who wait are served in turn, and a wait ends with the request it belongs to.
 */
import { invalidType, outOfRange } from '../errors.js'
import type { Body, RateLimit } from './port.js'
import { WaitingLine } from './waiting-line.js'

/** The bucket holds what flows in so many ms; a slice is half of that. */
const BURST = 100
const MAX_SLICE = 64 * 1024

/** A body under a rate limit, and how long it was held back. */
export interface PacedBody {
  readonly body: Body
  readonly waits: Waits
}

/** The time a body spent waiting for its turn: not the line's fault. */
export class Waits {
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
  async during(turn: Promise<void>): Promise<void> {
    this.#since = performance.now()
    await turn
    this.#total = this.total
    this.#since = undefined
  }
}

/** `source` in slices, each when all `limits` let it; ended early when `signal` is aborted. */
export function pace(
  limits: readonly RateLimit[],
  source: Body | Buffer,
  signal: AbortSignal,
): PacedBody {
  const waits = new Waits()
  return { body: slices(limits, source, waits, signal), waits }
}

async function* slices(
  limits: readonly RateLimit[],
  source: Body | Buffer,
  waits: Waits,
  signal: AbortSignal,
): AsyncGenerator<Buffer> {
  const most = Math.min(...limits.map(limit => limit.slice))
  for await (const chunk of Buffer.isBuffer(source) ? [source] : source) {
    for (let at = 0; at < chunk.length; at += most) {
      const slice = chunk.subarray(at, at + most)
      for (const limit of limits) {
        await waits.during(limit.take(slice.length, signal))
        if (signal.aborted) return
      }
      yield slice
    }
  }
}

export class Rate implements RateLimit {
  readonly slice: number
  readonly #perMs: number
  readonly #full: number
  #credit: number
  #filledAt = performance.now()
  readonly #line = new WaitingLine()
  #timer: NodeJS.Timeout | undefined

  /** `bytesPerSecond`: 1024 or more. */
  constructor(bytesPerSecond: number) {
    this.#perMs = bytesPerSecond / 1000
    this.slice = Math.min(MAX_SLICE, Math.floor((this.#perMs * BURST) / 2))
    this.#full = this.#perMs * BURST
    this.#credit = this.slice
  }

  async take(bytes: number, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return
    this.#fill()
    if (this.#line.wanted === undefined && this.#credit >= bytes) {
      this.#credit -= bytes
      return
    }
    const turn = this.#line.join(bytes, signal, () => this.#serve())
    this.#serve()
    await turn
  }

  #fill(): void {
    const now = performance.now()
    this.#credit = Math.min(this.#full, this.#credit + (now - this.#filledAt) * this.#perMs)
    this.#filledAt = now
  }

  #serve(): void {
    clearTimeout(this.#timer)
    this.#fill()
    for (let { wanted } = this.#line; wanted !== undefined; { wanted } = this.#line) {
      const missing = wanted - this.#credit
      if (missing > 0) {
        this.#timer = setTimeout(() => this.#serve(), Math.ceil(missing / this.#perMs))
        return
      }
      this.#credit -= wanted
      this.#line.next()
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
