/**
 * The context of one run: the claim on disk, the bucket on OSS, the options of its requests, and the reports.
 * `spool.ts` creates one per run.
 */
import type { Claim } from '../../disk/claim.js'
import type { Checkpoint } from '../../disk/checkpoint.js'
import { systemErrorCode } from '../../disk/durable-fs.js'
import { setTimeout as sleep } from 'node:timers/promises'
import type { BodyMeter } from '../../oss/body-meter.js'
import { OssRequestError } from '../../oss/request-error.js'
import type { Bucket, CallOptions, Place } from '../../oss/bucket.js'
import type { FairShare } from '../../util/fair-semaphore.js'
import type { UploadOptions } from '../model/options.js'
import type { Parallel } from '../model/parallel.js'
import type { ProgressTracker } from './progress.js'
import type { RetryPolicy, RetryOptions } from '../model/retry.js'
import { Diagnostics } from './diagnostics.js'
import { allowManyListeners } from '../../util/abort-signals.js'
import { errorMessage } from '../../util/error-shape.js'

/** Argument of the `warning` event: a problem that did not fail the upload but needs attention. */
export interface SpoolWarning {
  /** Id of the upload; empty for a problem of the whole spool that a method without an id found. */
  readonly id: string
  /** Description of the problem, on one line. */
  readonly message: string
  /** Part number, if one part is concerned. */
  readonly part?: number
  /** Underlying error. */
  readonly cause?: unknown
}

/** Settings of this run, as opposed to those of the object, which the checkpoint holds. */
export interface RunSettings {
  readonly parallel: Parallel
  readonly retry: RetryOptions
  readonly timeout: number | undefined
  /** Publish over anything, and although OSS refuses or does not answer everything else (rule 8). */
  readonly force?: boolean
  readonly progress: UploadOptions['progress']
}

/** What requests about one object need. */
export interface BucketContext {
  readonly bucket: Bucket
  readonly key: string
  /** Options of each request. */
  readonly callOptions: CallOptions
  /** Retry policy of requests other than parts. */
  readonly retryPolicy: RetryPolicy
  /** Waits; rejects with an `OssRequestError` of kind `aborted` when the upload is stopped. */
  pause(ms: number): Promise<void>
}

/** Parameters of the `UploadContext` constructor. */
export interface UploadContextDeps {
  readonly claim: Claim
  readonly bucket: Bucket
  /** Returns the bucket of another place, or `undefined` if the credentials must not be sent there. */
  readonly bucketAt: (place: Place) => Bucket | undefined
  /** This upload's share of the requests of all uploads. */
  readonly share: FairShare
  readonly key: string
  readonly settings: RunSettings
  readonly progress: ProgressTracker
  readonly warn: (warning: SpoolWarning) => void
}

export class UploadContext implements BucketContext {
  readonly claim: Claim
  readonly bucket: Bucket
  readonly key: string
  readonly settings: RunSettings
  readonly progress: ProgressTracker
  /** Options of each request. */
  readonly callOptions: CallOptions
  readonly diagnostics = new Diagnostics(() => this.checkpoint)
  readonly #abort = new AbortController()
  readonly #bucketAt: UploadContextDeps['bucketAt']
  readonly #warn: (warning: SpoolWarning) => void
  readonly #warned = new Set<string>()
  readonly startedAt = performance.now()
  readonly #sentParts = new Map<number, number>()
  #retryUntil = 0
  /** Bytes sent by this run and acknowledged. */
  sent = 0

  constructor(deps: UploadContextDeps) {
    const { claim, share, key, settings, progress, warn } = deps
    this.claim = claim
    this.bucket = deps.bucket
    this.#bucketAt = deps.bucketAt
    this.key = key
    this.settings = settings
    this.progress = progress
    this.#warn = warn
    this.callOptions = { signal: this.#abort.signal, idleTimeout: settings.timeout, share }
    claim.db.on('written', (before, now, elapsed) => this.diagnostics.written(before, now, elapsed))
    allowManyListeners(this.#abort.signal) // one listener per part in flight
    claim.lockLost?.addEventListener('abort', () => this.stop(), { once: true })
  }

  get id(): string {
    return this.claim.id
  }

  /** Runs `step`; `signal` aborts its requests. If the lock was lost, rejects with that error. */
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

  /** The upload's checkpoint. `startIngest` and `resume` make sure that there is one. */
  get checkpoint(): Checkpoint {
    const { checkpoint } = this.claim
    if (checkpoint === null) throw new Error(`Upload ${this.id} has no checkpoint yet`)
    return checkpoint
  }

  get signal(): AbortSignal {
    return this.#abort.signal
  }

  /** Retry policy of requests other than parts. */
  get retryPolicy(): RetryPolicy {
    return {
      retry: this.settings.retry,
      onFailure: failure => this.reportRetry(failure),
      pause: ms => this.pause(ms),
      isWithinRetryTime: () => this.isWithinRetryTime,
    }
  }

  /** Returns what requests about the object at another place need; `undefined` where no credentials may be sent. */
  at(place: Place & { readonly key: string }): BucketContext | undefined {
    const bucket = this.#bucketAt(place)
    if (bucket === undefined) return undefined
    const { callOptions, retryPolicy } = this
    return { bucket, key: place.key, callOptions, retryPolicy, pause: ms => this.pause(ms) }
  }

  /** Waits; rejects with an `OssRequestError` of kind `aborted` when the upload is stopped. */
  async pause(ms: number): Promise<void> {
    await sleep(ms, undefined, { signal: this.signal }).catch(() => {
      throw new OssRequestError({ operation: 'Pause', name: 'AbortError', message: 'stopped' })
    })
  }

  /** Starts the minimum retry time, when the source is no longer needed and attempts are counted. */
  startRetryTime(): void {
    this.#retryUntil = performance.now() + (this.settings.retry.minRetryTime ?? 0)
  }

  /** While true, retries continue even after all attempts. */
  get isWithinRetryTime(): boolean {
    return performance.now() < this.#retryUntil
  }

  /** Aborts the requests and pauses of this upload only. */
  stop(): void {
    this.#abort.abort()
  }

  /** Runs one attempt to send a part, or an object as part 1. Reports its bytes if it fails. */
  trackAttempt<T>(
    { number, size }: { number: number; size: number },
    send: (meter: BodyMeter) => Promise<T>,
  ): Promise<T> {
    return this.progress.trackAttempt(size, async meter => {
      try {
        return await send(meter)
      } catch (error) {
        this.diagnostics.partFailed(number, meter.accepted)
        throw error
      }
    })
  }

  /** @param since – start of the first attempt, by `performance.now()` */
  countSent(part: { number: number; size: number }, since: number): void {
    this.diagnostics.partSent(part, since)
    this.sent += part.size
    this.#sentParts.set(part.number, part.size)
  }

  /** Counts an object that is sent by a single request, once for all attempts. */
  countPut(size: number): void {
    this.sent = size
    this.#sentParts.set(1, size)
  }

  /** Returns the number of bytes of an object of `size` that this run did not have to send. */
  skipped(size: number): number {
    return size - [...this.#sentParts.values()].reduce((sum, bytes) => sum + bytes, 0)
  }

  warn(message: string, details: { part?: number; cause?: unknown } = {}): void {
    // On the next tick, so that an exception in a listener is uncaught instead of failing a part.
    process.nextTick(this.#warn, { id: this.id, message, ...details })
  }

  /** Removes the upload from this host and ends the claim. Files that cannot be removed are only a warning. */
  async removeUpload(): Promise<void> {
    const cause = await this.claim.remove()
    if (cause !== undefined) this.warn(`Cleaning up failed: ${errorMessage(cause)}`, { cause })
  }

  /** Removes what is no longer needed. A failure is only a warning: a later run or `prune` removes it. */
  async cleanUp(step: () => Promise<void>): Promise<void> {
    try {
      await step()
    } catch (cause) {
      if (systemErrorCode(cause) === undefined) throw cause
      this.warn(`Cleaning up failed: ${errorMessage(cause)}`, { cause })
    }
  }

  /** Reports a failed request that will be retried. */
  reportRetry(failure: OssRequestError, part?: number): void {
    this.diagnostics.retry(failure, part)
    this.warnOnce(failure, part)
  }

  /** Warns about a failed request, once per kind of failure. */
  warnOnce(failure: OssRequestError, part?: number): void {
    const kind = `${failure.status} ${failure.ossCode ?? failure.name}`
    if (this.#warned.has(kind)) return
    this.#warned.add(kind)
    this.warn(failure.describe(), { cause: failure, ...(part === undefined ? {} : { part }) })
  }
}
