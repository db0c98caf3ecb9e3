/**
 * The line of one upload: how many of its parts are on it, and who waits. OSS's refusals slow all of
 * them down together (`congestion.ts`); whoever pauses is woken when there is reason to try at once, and
 * sent home when the upload ends.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { errorKind, OssRequestError } from '../oss/request-error.js'
import { Congestion } from './congestion.js'
import type { UploadContext } from './context.js'
import { retryDelay } from './retry.js'

/** Why a pause ends early; a constant, since a `DOMException` with its stack is dear. */
const PAUSE_ENDED = new Error('woken')

export class ConcurrencyLimiter {
  readonly #context: UploadContext
  readonly #congestion: Congestion
  /** Parts that are on the line now; others of those in flight pause or wait for their turn. */
  #sending = 0
  #waiting: (() => void)[] = []
  /** Ends all pauses when it changes. */
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

  /** Sends when OSS is not to be left alone and fewer are on the line than it takes. */
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
      this.onThrottled(error) // before the next one's turn
      throw error
    } finally {
      this.#sending--
      for (const look of this.#waiting.splice(0)) look()
    }
  }

  /** Slows all down when OSS asks for it. */
  onThrottled(error: unknown): void {
    if (!(error instanceof OssRequestError) || errorKind(error) !== 'throttled') return
    this.#congestion.reduce(times => retryDelay(this.#context.settings.retry, times))
  }

  /**
   * Waits `ms`, or longer while OSS is to be left alone; shorter when it is woken.
   * @throws OssRequestError of kind `aborted` when the upload is stopped
   */
  async pause(ms: number): Promise<void> {
    const signal = AbortSignal.any([this.#wake.signal, this.#context.signal])
    const longest = Math.max(ms, this.#congestion.pause)
    await sleep(longest, undefined, { signal }).catch(() => undefined) // woken: go on at once
    this.#throwIfClosed()
  }

  /** Those who pause go on at once. */
  resumeAll(): void {
    this.#wake.abort(PAUSE_ENDED)
    this.#wake = new AbortController()
  }

  /** Those who pause, or wait for their turn, are refused. */
  close(): void {
    this.#closed = true
    this.#wake.abort(PAUSE_ENDED)
  }

  #throwIfClosed(): void {
    if (!this.#closed && !this.#context.signal.aborted) return
    throw new OssRequestError({ operation: 'UploadPart', name: 'AbortError', message: 'stopped' })
  }
}
