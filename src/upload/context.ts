/**
 * What every step of one upload's life has at hand: the claim on disk, the bucket on OSS, how to
 * call it, and whom to tell. Made once per run by `spool.ts`.
 */
import type { Claim } from '../disk/claim.js'
import type { Checkpoint } from '../disk/checkpoint.js'
import { setMaxListeners } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { OssRequestError } from '../oss/request-error.js'
import type { Bucket, CallOptions } from '../oss/bucket.js'
import type { UploadOptions } from './options.js'
import type { ProgressTracker } from './progress.js'
import type { RetryPolicy, RetryOptions } from './retry.js'
import { Diagnostics } from './diagnostics.js'

/** Something that did not stop the upload but that its user should see at once. */
export interface SpoolWarning {
  /** Id of the upload. */
  readonly id: string
  /** One line. */
  readonly message: string
  /** Part number, if it is about one part. */
  readonly part?: number
  /** What failed underneath. */
  readonly cause?: unknown
}

/** How this run works, as opposed to what the checkpoint says about the object. */
export interface RunSettings {
  readonly parallel: number
  readonly retry: RetryOptions
  readonly timeout: number | undefined
  readonly progress: UploadOptions['progress']
}

export class UploadContext {
  readonly claim: Claim
  readonly bucket: Bucket
  readonly key: string
  readonly settings: RunSettings
  readonly progress: ProgressTracker
  readonly diagnostics = new Diagnostics(() => this.checkpoint)
  readonly #abort = new AbortController()
  readonly #warn: (warning: SpoolWarning) => void
  readonly #warned = new Set<string>()
  readonly startedAt = performance.now()
  readonly #sentParts = new Map<number, number>()
  #retryUntil = 0
  /** Bytes sent by this run and acknowledged. */
  sent = 0

  constructor(
    claim: Claim,
    bucket: Bucket,
    key: string,
    settings: RunSettings,
    progress: ProgressTracker,
    warn: (warning: SpoolWarning) => void,
  ) {
    this.claim = claim
    this.bucket = bucket
    this.key = key
    this.settings = settings
    this.progress = progress
    this.#warn = warn
    claim.onWritten = (before, now, elapsed) => this.diagnostics.written(before, now, elapsed)
    setMaxListeners(0, this.#abort.signal) // one for each part in flight
    claim.lockLost?.addEventListener('abort', () => this.stop(), { once: true })
  }

  get id(): string {
    return this.claim.id
  }

  /** Runs `step`; the signal stops what it does on the line. A claim that was lost is what is told. */
  async runUntilAborted<T>(signal: AbortSignal | undefined, step: () => Promise<T>): Promise<T> {
    const stop = (): void => this.stop()
    signal?.addEventListener('abort', stop, { once: true })
    if (signal?.aborted) stop()
    try {
      return await step()
    } catch (error) {
      const { lockLost } = this.claim
      throw lockLost?.aborted === true ? lockLost.reason : error
    } finally {
      signal?.removeEventListener('abort', stop)
    }
  }

  /** Set before anything else happens: see `Intake.begin` and `resume`. */
  get checkpoint(): Checkpoint {
    const { checkpoint } = this.claim
    if (checkpoint === null) throw new Error(`Upload ${this.id} has no checkpoint yet`)
    return checkpoint
  }

  get signal(): AbortSignal {
    return this.#abort.signal
  }

  get callOptions(): CallOptions {
    return { signal: this.signal, idleTimeout: this.settings.timeout }
  }

  /** How a request other than a part is tried again. */
  get retryPolicy(): RetryPolicy {
    return {
      retry: this.settings.retry,
      onFailure: failure => this.reportRetry(failure),
      pause: ms => this.pause(ms),
      isWithinRetryTime: () => this.isWithinRetryTime,
    }
  }

  /** Waits; rejects with an `OssRequestError` of kind `aborted` when the upload is stopped. */
  async pause(ms: number): Promise<void> {
    await sleep(ms, undefined, { signal: this.signal }).catch(() => {
      throw new OssRequestError({ operation: 'Pause', name: 'AbortError', message: 'stopped' })
    })
  }

  /** The source is not needed any more: from here on attempts count, and patience runs. */
  startRetryTime(): void {
    this.#retryUntil = performance.now() + (this.settings.retry.minRetryTime ?? 0)
  }

  /** While true, attempts go on although they are used up. */
  get isWithinRetryTime(): boolean {
    return performance.now() < this.#retryUntil
  }

  /** Ends this upload's requests and waits; no other upload's. */
  stop(): void {
    this.#abort.abort()
  }

  /** `since`: when its first attempt began. */
  countSent(part: { number: number; size: number }, since: number): void {
    this.diagnostics.partSent(part, since)
    this.sent += part.size
    this.#sentParts.set(part.number, part.size)
  }

  /** The whole object goes in one request; however often, it counts once. */
  countPut(size: number): void {
    this.sent = size
    this.#sentParts.set(1, size)
  }

  /** Bytes of an object of `size` that this run did not have to send. */
  skipped(size: number): number {
    return size - [...this.#sentParts.values()].reduce((sum, bytes) => sum + bytes, 0)
  }

  warn(message: string, details: { part?: number; cause?: unknown } = {}): void {
    // Later, so that a listener that throws is its owner's uncaught exception and not our failed part.
    process.nextTick(this.#warn, { id: this.id, message, ...details })
  }

  /** Tells of a failed request that will be made again. */
  reportRetry(failure: OssRequestError, part?: number): void {
    this.diagnostics.retry(failure, part)
    this.warnOnce(failure, part)
  }

  /** Warns of a failed request: of each kind of failure once. */
  warnOnce(failure: OssRequestError, part?: number): void {
    const kind = `${failure.status} ${failure.ossCode ?? failure.name}`
    if (this.#warned.has(kind)) return
    this.#warned.add(kind)
    this.warn(failure.describe(), { cause: failure, ...(part === undefined ? {} : { part }) })
  }
}
