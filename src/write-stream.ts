/**
 * The sink. `finish` means done: it is emitted only when OSS holds the whole object (rule 1). The work is done in
 * `upload/`; this file implements `Writable`.
 */
import { Writable, type Readable } from 'node:stream'
import { announceRelease } from './disk/claim.js'
import { invalidType, SpoolError } from './errors.js'
import type { SpoolWarning } from './upload/run/context.js'
import {
  abortedError,
  errorContext,
  toSpoolError,
  type ErrorContext,
} from './upload/run/error-mapping.js'
import type { Ingest } from './upload/spooling/ingest.js'
import type { ProgressEvent } from './upload/model/progress-event.js'
import { resultOf, type UploadResult } from './upload/run/result.js'
import { errorCode } from './util/error-code.js'
import { toError } from './util/error-shape.js'

/**
 * Bytes buffered while a batch is written. Large batches speed up disk writes, but even larger ones would block
 * the event loop and delay the parts.
 */
const HIGH_WATER_MARK_BYTES = 1024 * 1024

/**
 * Approximate limit of the bytes buffered by all sinks of a process. When many sinks are open, new ones get smaller
 * buffers.
 */
const TOTAL_BUFFER_BYTES = 64 * 1024 * 1024
const MIN_HIGH_WATER_MARK_BYTES = 64 * 1024

/** Sinks of this process that have not closed yet. */
let openSinks = 0

/** Options of a sink. */
export interface SinkOptions {
  readonly id: string
  readonly bucket: string
  readonly key: string
  /** The upload's directory. */
  readonly directory: string
  /** Locks the upload and creates its first checkpoint; aborted when the sink was destroyed meanwhile. */
  readonly open: (signal: AbortSignal) => Promise<Ingest>
  readonly signal: AbortSignal | undefined
}

/** A chunk as `_writev` receives it. */
interface Buffered {
  readonly chunk: Buffer
}

/**
 * A `Writable` of strings and bytes. Emits, besides the events of a `Writable`, `progress` (`ProgressEvent`, at
 * most ten a second) and `warning` (`SpoolWarning`, when something failed and is retried).
 */
// oxlint-disable-next-line typescript/no-unsafe-declaration-merging -- only adds overloads of `on`
export class SpoolWriteStream extends Writable {
  /** Id of the upload. */
  readonly id: string
  /** The result; rejects with the error that ended the upload. Ignoring it is safe. */
  readonly result: Promise<UploadResult>

  readonly #options: SinkOptions
  readonly #opening = new AbortController()
  #ingest: Ingest | undefined
  /** Whether the seal was durable when the sink was destroyed. */
  #sealed: boolean | undefined
  #published = false
  /** A failure of the upload itself, as opposed to one of its source. */
  #failure: Error | undefined
  #resolve!: (result: UploadResult) => void // set in the constructor
  #reject!: (error: unknown) => void // set in the constructor
  readonly #onAbort = (): void =>
    void this.destroy(this.#fail(abortedError(this.#errorContext(), this.#options.signal?.reason)))

  /** @internal Created by `Spool.createWriteStream`. */
  constructor(options: SinkOptions) {
    super({ highWaterMark: highWaterMark(++openSinks) })
    this.id = options.id
    this.#options = options
    this.result = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
    this.result.catch(() => {}) // only the stream's `error` event must be handled
    if (options.signal?.aborted) this.#onAbort()
    else options.signal?.addEventListener('abort', this.#onAbort, { once: true })
  }

  /** @internal */
  override _construct(callback: (error?: Error | null) => void): void {
    this.#run(async () => {
      const ingest = await this.#options.open(this.#opening.signal)
      const { fatal } = ingest
      const onFatal = (): void => void this.destroy(this.#fail(fatal.reason))
      this.#ingest = ingest
      if (fatal.aborted) onFatal()
      else fatal.addEventListener('abort', onFatal, { once: true })
    }, callback)
  }

  /** Non-byte chunks destroy the stream: `Writable.write()` would throw, which `pipeline()` cannot catch. */
  override write(
    chunk: unknown,
    encoding?: BufferEncoding | ((error: Error | null | undefined) => void),
    callback?: (error: Error | null | undefined) => void,
  ): boolean {
    if (typeof chunk !== 'string' && !ArrayBuffer.isView(chunk)) {
      const error = invalidType('chunk', 'a string, Buffer, TypedArray or DataView', chunk)
      const onError = typeof encoding === 'function' ? encoding : callback
      if (onError !== undefined) process.nextTick(onError, error)
      this.destroy(error)
      return false
    }
    if (typeof encoding === 'function') return super.write(chunk, encoding)
    return encoding === undefined
      ? super.write(chunk, callback)
      : super.write(chunk, encoding, callback)
  }

  /** @internal */
  override _write(
    chunk: Buffer,
    _encoding: string,
    callback: (error?: Error | null) => void,
  ): void {
    this.#run(() => this.#openIngest().write([chunk]), callback)
  }

  /** @internal */
  override _writev(chunks: readonly Buffered[], callback: (error?: Error | null) => void): void {
    this.#run(() => this.#openIngest().write(chunks.map(({ chunk }) => chunk)), callback)
  }

  /** @internal */
  override _final(callback: (error?: Error | null) => void): void {
    this.#run(async () => {
      const ingest = this.#openIngest()
      const { context } = ingest
      await ingest.seal()
      const { checkpoint } = context
      const { published, callback: answer } = await ingest.finish()
      const result = resultOf(checkpoint, published, {
        sent: context.sent,
        skipped: context.skipped(published.size),
        sourceRead: published.size > ingest.offset,
        resumed: false,
        elapsed: performance.now() - context.startedAt,
        callback: answer,
      })
      this.#published = true
      this.#resolve(result)
    }, callback)
  }

  override destroy(error?: Error): this {
    if (!this.destroyed) {
      if (this.#ingest === undefined) this.#opening.abort() // `_destroy` comes after `_construct`
      announceRelease(this.#options.directory, new Promise(resolve => this.once('close', resolve)))
    }
    return super.destroy(error)
  }

  /** @internal */
  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    openSinks--
    this.#options.signal?.removeEventListener('abort', this.#onAbort)
    if (this.#published) return callback(error) // the claim was released before
    let reason = this.#reasonFor(error)
    const ingest = this.#ingest
    const ended = (): void => {
      if (!this.#published) ingest?.context.diagnostics.failed(reason)
      this.#reject(reason) // without effect if it was published meanwhile
      callback(error === this.#failure || this.#wouldLookFinished(error) ? reason : error)
    }
    if (ingest === undefined) return ended()
    const abandoned = ingest.abandon(sealed => {
      this.#sealed = sealed
      return (reason = this.#reasonFor(error))
    })
    abandoned.then(ended, (cause: unknown) => {
      const message = `Saving the state of ${this.id} failed: ${String(cause)}`
      ingest.context.warn(message, { cause })
      ended()
    })
  }

  /** The error of the result: our own failure, or the source's. */
  #reasonFor(error: Error | null): Error & { code: string } {
    if (this.#failure !== undefined) {
      const own = this.#failure
      // Aborted by the caller's signal: only now is it known whether the seal is durable.
      const isAborted = own instanceof SpoolError && own.code === 'ERR_SPOOL_ABORTED'
      if (isAborted && own.resumable !== this.#isSealed)
        return abortedError(this.#errorContext(), own.cause)
      return Object.assign(own, {
        code: own instanceof SpoolError ? own.code : (errorCode(own) ?? own.name),
      })
    }
    if (error instanceof SpoolError && error.id === this.id) return error
    if (this.#isSealed || (this.writableEnded && error === null)) {
      return abortedError(this.#errorContext(), error ?? undefined) // the source had ended successfully
    }
    const { bucket, key } = this.#options
    const why = error === null ? 'the stream was destroyed before its end' : error.message
    return new SpoolError(
      'ERR_SPOOL_SOURCE_FAILED',
      `The source of oss://${bucket}/${key} failed: ${why}. Nothing was published`,
      { id: this.id, ...(error === null ? {} : { cause: error }) },
    )
  }

  /**
   * Node considers a sink finished if it is destroyed between `end()` and `finish`, so `pipeline()` would resolve. Without an `error` listener, emitting one would crash the process, so the stream closes silently.
   */
  #wouldLookFinished(error: Error | null): boolean {
    if (error !== null || this.#published) return false
    return this.writableEnded && this.listenerCount('error') > 0
  }

  #run(step: () => Promise<void>, callback: (error?: Error | null) => void): void {
    step().then(
      () => callback(),
      (error: unknown) => callback(this.#fail(error)),
    )
  }

  #fail(error: unknown): Error {
    const reported = toSpoolError(error, this.#errorContext())
    const failure = toError(reported)
    if (!this.destroyed) this.#failure ??= failure // later failures are consequences
    return failure
  }

  #errorContext(): ErrorContext {
    const context = errorContext(this.#options, this.#ingest?.savedRecord)
    return { ...context, sealed: this.#isSealed }
  }

  get #isSealed(): boolean {
    return this.#sealed ?? this.#ingest?.sealed ?? false
  }

  #openIngest(): Ingest {
    if (this.#ingest === undefined) throw abortedError(this.#errorContext())
    return this.#ingest
  }
}

/** Bytes that each of `sinks` open sinks buffers before it applies back-pressure. */
function highWaterMark(sinks: number): number {
  return Math.min(
    HIGH_WATER_MARK_BYTES,
    Math.max(MIN_HIGH_WATER_MARK_BYTES, Math.floor(TOTAL_BUFFER_BYTES / sinks)),
  )
}

/** Typed listeners for `progress` and `warning`. */
// oxlint-disable-next-line typescript/no-unsafe-declaration-merging -- only adds overloads of `on`
export interface SpoolWriteStream {
  /** Emitted at most ten times a second; the last event is never dropped. */
  on(event: 'progress', listener: (progress: ProgressEvent) => void): this
  /** Something failed and is retried. */
  on(event: 'warning', listener: (warning: SpoolWarning) => void): this
  /** Events of a `Writable`. */
  on(event: 'error', listener: (error: Error) => void): this
  /** Events of a `Writable`. */
  on(event: 'close' | 'drain' | 'finish', listener: () => void): this
  /** Events of a `Writable`. */
  on(event: 'pipe' | 'unpipe', listener: (source: Readable) => void): this
  /** Other events. */
  on(event: string | symbol, listener: (...args: never[]) => void): this
  /** Like `on`, for the next event only. */
  once(event: 'progress', listener: (progress: ProgressEvent) => void): this
  /** Like `on`, for the next event only. */
  once(event: 'warning', listener: (warning: SpoolWarning) => void): this
  /** Like `on`, for the next event only. */
  once(event: 'error', listener: (error: Error) => void): this
  /** Like `on`, for the next event only. */
  once(event: 'close' | 'drain' | 'finish', listener: () => void): this
  /** Like `on`, for the next event only. */
  once(event: 'pipe' | 'unpipe', listener: (source: Readable) => void): this
  /** Like `on`, for the next event only. */
  once(event: string | symbol, listener: (...args: never[]) => void): this
}
