/**
 * Limits how many parts of one upload are in flight: a fixed number, or one that follows the throughput. All parts back
 * off together when OSS throttles. `resumeAll()` ends all pauses; `close()` rejects everything that waits.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { errorKind, OssRequestError } from '../../oss/request-error.js'
import type { UploadContext } from '../run/context.js'
import { minParallel } from '../model/parallel.js'
import { retryDelay } from '../model/retry.js'
import { AutoParallel } from './auto-parallel.js'

/** Abort reason. Preallocated because creating a `DOMException` captures a stack, which is expensive. */
const PAUSE_ENDED = new Error('the pause was ended')

export class ConcurrencyLimiter {
  readonly #context: UploadContext
  readonly #congestion: Congestion
  /** Sets the maximum of `#congestion`, unless it is fixed. */
  readonly #auto?: AutoParallel
  /** Parts being sent; the other parts in flight pause or wait for their turn. */
  #sending = 0
  #waiting: (() => void)[] = []
  /** Aborted to end all pauses. */
  #wake: AbortController | undefined
  #closed = false

  constructor(context: UploadContext) {
    this.#context = context
    const { parallel } = context.settings
    if (parallel === 'auto') this.#auto = new AutoParallel()
    this.#congestion = new Congestion(minParallel(parallel))
  }

  /** Parts that may be in flight now. */
  get limit(): number {
    return this.#congestion.limit
  }

  /**
   * Runs `send` when no pause is in effect and fewer parts than the limit are being sent.
   * @param size – bytes that it sends
   */
  async run<T>(size: number, send: () => Promise<T>): Promise<T> {
    while (this.#congestion.pause > 0 || this.#sending >= this.limit) {
      if (this.#congestion.pause > 0) await this.pause(0)
      else await new Promise<void>(resolve => this.#waiting.push(resolve))
      this.#throwIfClosed()
    }
    this.#sending++
    const start = performance.now()
    try {
      const reply = await send()
      this.#congestion.increase()
      this.#onSent(size, start)
      return reply
    } catch (error) {
      // Before the next part's turn.
      this.onThrottled(error)
      this.#onFailed(error, start)
      throw error
    } finally {
      this.#sending--
      for (const resume of this.#waiting.splice(0)) resume()
    }
  }

  /** Slows down all parts if OSS throttled the request. */
  onThrottled(error: unknown): void {
    if (!(error instanceof OssRequestError) || errorKind(error) !== 'throttled') return
    this.#congestion.reduce(times => retryDelay(this.#context.settings.retry, times))
  }

  #onSent(size: number, start: number): void {
    if (this.#auto === undefined) return
    this.#auto.sent(size, start, performance.now(), this.#sending)
    this.#congestion.max = this.#auto.limit
  }

  #onFailed(error: unknown, start: number): void {
    if (this.#auto === undefined || !(error instanceof OssRequestError)) return
    if (!['throttled', 'transient'].includes(errorKind(error))) return
    this.#auto.failed(start, performance.now())
    this.#congestion.max = this.#auto.limit
  }

  /**
   * Waits `ms`, or longer while a pause is in effect; `resumeAll()` ends it early.
   * @throws OssRequestError of kind `aborted` when the upload is stopped
   */
  async pause(ms: number): Promise<void> {
    this.#throwIfClosed()
    this.#wake ??= new AbortController()
    const signal = AbortSignal.any([this.#wake.signal, this.#context.signal])
    const longest = Math.max(ms, this.#congestion.pause)
    await sleep(longest, undefined, { signal }).catch(() => undefined) // ended early
    this.#throwIfClosed()
  }

  /** Ends all pauses. */
  resumeAll(): void {
    this.#wake?.abort(PAUSE_ENDED)
    this.#wake = undefined
  }

  /** Rejects everything that pauses or waits for its turn. */
  close(): void {
    this.#closed = true
    this.resumeAll()
  }

  #throwIfClosed(): void {
    if (!this.#closed && !this.#context.signal.aborted) return
    throw new OssRequestError({ operation: 'UploadPart', name: 'AbortError', message: 'stopped' })
  }
}

/**
 * Congestion control, as in TCP: the limit of requests in flight is halved when OSS throttles and increased by
 * one per round of successes. All parts pause together, since each of them would be throttled too.
 */
export class Congestion {
  #max: number
  #limit: number
  /** Nothing new is sent before this time, by `performance.now()`. */
  #pausedUntil = 0
  #timesThrottled = 0

  /** @param max – parts in flight while nothing is throttled */
  constructor(max: number) {
    this.#max = max
    this.#limit = max
  }

  /** Parts that may be in flight now; at least 1. */
  get limit(): number {
    return Math.floor(this.#limit)
  }

  /** A limit that is not reduced follows its maximum. */
  set max(max: number) {
    this.#limit = this.#limit < this.#max ? Math.min(this.#limit, max) : max
    this.#max = max
  }

  /** ms until the next request may be sent. */
  get pause(): number {
    return Math.max(0, this.#pausedUntil - performance.now())
  }

  /**
   * Reduces the limit after OSS throttled a request; throttling during a pause counts once.
   * @param delay – returns the ms to pause after this many consecutive reductions
   */
  reduce(delay: (times: number) => number): void {
    if (this.pause > 0) return
    this.#timesThrottled++
    this.#limit = Math.max(1, this.#limit / 2)
    this.#pausedUntil = performance.now() + delay(this.#timesThrottled)
  }

  increase(): void {
    this.#timesThrottled = 0
    this.#limit = Math.min(this.#max, this.#limit + 1 / this.#limit)
  }
}
