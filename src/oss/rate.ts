/**
 * The rate limit of a spool: one token bucket that all its requests draw their bodies from. What
 * always holds: no more than about 150 ms worth of bytes goes out at once, those who wait are served
 * in turn, slice by slice, and a wait ends with the request it belongs to.
 */
import type { Body } from './port.js'

/** The bucket holds what flows in so many ms; a slice is half of that. */
const BURST = 100
const MAX_SLICE = 64 * 1024

interface Waiter {
  readonly bytes: number
  readonly grant: () => void
}

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

export class Rate {
  /** The most bytes that are taken at a time. */
  readonly slice: number
  readonly #perMs: number
  readonly #full: number
  #credit: number
  #filledAt = performance.now()
  #queue: Waiter[] = []
  #timer: NodeJS.Timeout | undefined

  /** `bytesPerSecond`: 1024 or more. */
  constructor(bytesPerSecond: number) {
    this.#perMs = bytesPerSecond / 1000
    this.slice = Math.min(MAX_SLICE, Math.floor((this.#perMs * BURST) / 2))
    this.#full = this.#perMs * BURST
    this.#credit = this.slice
  }

  /** Resolves when `bytes` (at most a slice) may be sent, or as soon as `signal` is aborted. */
  async take(bytes: number, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return
    this.#fill()
    if (this.#queue.length === 0 && this.#credit >= bytes) {
      this.#credit -= bytes
      return
    }
    await new Promise<void>(resolve => {
      const leave = (): void => {
        this.#queue = this.#queue.filter(other => other !== waiter)
        this.#serve()
        resolve()
      }
      const waiter: Waiter = {
        bytes,
        grant: () => {
          signal.removeEventListener('abort', leave)
          resolve()
        },
      }
      signal.addEventListener('abort', leave, { once: true })
      this.#queue.push(waiter)
      this.#serve()
    })
  }

  /** `source` in slices, each when its turn comes; ended early when `signal` is aborted. */
  pace(source: Body | Buffer, signal: AbortSignal): PacedBody {
    const waits = new Waits()
    return { body: this.#slices(source, waits, signal), waits }
  }

  async *#slices(source: Body | Buffer, waits: Waits, signal: AbortSignal): AsyncGenerator<Buffer> {
    for await (const chunk of Buffer.isBuffer(source) ? [source] : source) {
      for (let at = 0; at < chunk.length; at += this.slice) {
        const slice = chunk.subarray(at, at + this.slice)
        await waits.during(this.take(slice.length, signal))
        if (signal.aborted) return
        yield slice
      }
    }
  }

  #fill(): void {
    const now = performance.now()
    this.#credit = Math.min(this.#full, this.#credit + (now - this.#filledAt) * this.#perMs)
    this.#filledAt = now
  }

  #serve(): void {
    clearTimeout(this.#timer)
    this.#fill()
    for (;;) {
      const first = this.#queue[0]
      if (first === undefined) return
      const missing = first.bytes - this.#credit
      if (missing > 0) {
        this.#timer = setTimeout(() => this.#serve(), Math.ceil(missing / this.#perMs))
        return
      }
      this.#queue.shift()
      this.#credit -= first.bytes
      first.grant()
    }
  }
}
