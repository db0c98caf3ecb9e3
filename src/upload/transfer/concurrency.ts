/**
 * Limits how many parts of one upload are in flight. All parts back off together when OSS throttles.
 * `resumeAll()` ends all pauses; `close()` rejects everything that waits.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { errorKind, OssRequestError } from '../../oss/request-error.js'
import type { UploadContext } from '../run/context.js'
import { retryDelay } from '../model/retry.js'

/** Abort reason. Preallocated because creating a `DOMException` captures a stack, which is expensive. */
const PAUSE_ENDED = new Error('the pause was ended')

export class ConcurrencyLimiter {
  readonly #context: UploadContext
  readonly #congestion: Congestion
  /** Parts being sent; the other parts in flight pause or wait for their turn. */
  #sending = 0
  #waiting: (() => void)[] = []
  /** Aborted, and replaced, to end all pauses. */
  #wake = new AbortController()
  #closed = false

  constructor(context: UploadContext) {
    this.#context = context
    this.#congestion = new Congestion(context.settings.parallel)
  }

  /** Parts that may be in flight now. */
  get limit(): number {
    return this.#congestion.limit
  }

  /** Runs `send` when no pause is in effect and fewer parts than the limit are being sent. */
  async run<T>(send: () => Promise<T>): Promise<T> {
    while (this.#congestion.pause > 0 || this.#sending >= this.limit) {
      if (this.#congestion.pause > 0) await this.pause(0)
      else await new Promise<void>(resolve => this.#waiting.push(resolve))
      this.#throwIfClosed()
    }
    this.#sending++
    try {
      const reply = await send()
      this.#congestion.increase()
      return reply
    } catch (error) {
      this.onThrottled(error) // before the next part's turn
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

  /**
   * Waits `ms`, or longer while a pause is in effect; `resumeAll()` ends it early.
   * @throws OssRequestError of kind `aborted` when the upload is stopped
   */
  async pause(ms: number): Promise<void> {
    const signal = AbortSignal.any([this.#wake.signal, this.#context.signal])
    const longest = Math.max(ms, this.#congestion.pause)
    await sleep(longest, undefined, { signal }).catch(() => undefined) // ended early
    this.#throwIfClosed()
  }

  /** Ends all pauses. */
  resumeAll(): void {
    this.#wake.abort(PAUSE_ENDED)
    this.#wake = new AbortController()
  }

  /** Rejects everything that pauses or waits for its turn. */
  close(): void {
    this.#closed = true
    this.#wake.abort(PAUSE_ENDED)
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
  readonly #max: number
  #limit: number
  /** Nothing new is sent before this time, by `performance.now()`. */
  #pausedUntil = 0
  #timesThrottled = 0

  /** @param max – the `parallel` option */
  constructor(max: number) {
    this.#max = max
    this.#limit = max
  }

  /** Parts that may be in flight now; at least 1. */
  get limit(): number {
    return Math.floor(this.#limit)
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
