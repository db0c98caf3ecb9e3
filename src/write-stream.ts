/**
 * The sink. `finish` means done: it is emitted only when OSS holds the whole object (rule 1). The work is done in
 * `upload/`; this file implements `Writable`.
 */
import { Writable, type Readable } from 'node:stream'
import { announceRelease } from './disk/claim.js'
import { invalidState, invalidType, SpoolError } from './errors.js'
import type { SpoolWarning } from './upload/run/context.js'
import {
  abortedError,
  errorContext,
  isResumable,
  sourceFailedError,
  toSpoolError,
  type ErrorContext,
} from './upload/run/error-mapping.js'
import type { Ingest } from './upload/spooling/ingest.js'
import type { ProgressEvent } from './upload/model/progress-event.js'
import { resultOf, type UploadResult } from './upload/run/result.js'
import { errorCode } from './util/error-code.js'
import { errorMessage, toError } from './util/error-shape.js'

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
  /** The option that speaks of the whole stream, so that it cannot be committed; `undefined` if there is none. */
  readonly uncommittable?: string | undefined
}

/** A call of `commit()` that is not durable yet. */
interface PendingCommit {
  /** Bytes that it covers; infinite if some of them were lost. */
  readonly size: number
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
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
  /** Types of chunks, for `runChain` and `stream-chain`. Exists only in the type system. */
  declare readonly __streamTypeW: () => string | NodeJS.ArrayBufferView

  readonly #options: SinkOptions
  readonly #opening = new AbortController()
  #ingest: Ingest | undefined
  /** The argument of a `destroy()` during the opening. Node adds the failure of the opening, which is a consequence. */
  #earlyDestroyError: Error | null | undefined
  /** What was durable when the sink was destroyed. */
  #finalState: ErrorContext | undefined
  #published = false
  /** Bytes that were written to the spool. */
  #written = 0
  /** A write is in progress. */
  #isWriting = false
  /** Accepted bytes were not written, because the sink failed or was destroyed. */
  #hasLostBytes = false
  /** The upload has ended: what is durable now stays so. */
  #hasEnded = false
  /** Calls of `commit()` whose bytes are not all written yet, and those whose bytes are being made durable. */
  readonly #waitingCommits: PendingCommit[] = []
  readonly #startedCommits = new Set<readonly PendingCommit[]>()
  /** A failure of the upload itself, as opposed to one of its source. */
  #failure: Error | undefined
  #resolve!: (result: UploadResult) => void // set in the constructor
  #reject!: (error: unknown) => void // set in the constructor
  readonly #onAbort = (): void =>
    void this.destroy(this.#fail(abortedError(this.#state, this.#options.signal?.reason)))

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
      this.#startCommit()
    }, callback)
  }

  /**
   * Makes everything written so far durable, as an object that `resume` can publish if this process dies or this
   * sink fails before its end. For sources that cannot be read again, such as queues. The bytes must be valid
   * as an object of their own: end a line, a record or a gzip member before. Concurrent calls share one sync.
   * With `maxSpoolBytes`, it may wait for the network; on a corked sink, it waits for `uncork()`.
   * @throws TypeError, by rejecting, with an option that speaks of the whole stream: `size`, `expect`, `once`,
   * `replay: 'offset'`, `inPlace`; otherwise the error that ends the sink. Ignoring a rejection is safe
   */
  commit(): Promise<void> {
    const committed = this.#commit()
    committed.catch(() => {}) // the stream's `error` event must be handled
    return committed
  }

  async #commit(): Promise<void> {
    const { uncommittable } = this.#options
    if (uncommittable !== undefined) {
      throw invalidState(
        `commit() cannot be used with ${uncommittable}, which needs the whole stream`,
      )
    }
    if (this.#isSealed && !this.#hasLostBytes) return
    // No commit can cover lost bytes.
    const size = this.#hasLostBytes ? Infinity : this.#written + this.writableLength
    await new Promise<void>((resolve, reject) => {
      this.#waitingCommits.push({ size, resolve, reject })
      if (this.#hasEnded) this.#settleCommits()
      else this.#startCommit()
    })
  }

  /** Starts a commit of the written bytes if a call waits for no more than these. */
  #startCommit(): void {
    const ingest = this.#ingest
    if (ingest === undefined || this.#isWriting || this.destroyed) return
    // In the order of their sizes.
    const next = this.#waitingCommits.findIndex(({ size }) => size > this.#written)
    const ready = this.#waitingCommits.splice(0, next < 0 ? Infinity : next)
    if (ready.length === 0) return
    this.#startedCommits.add(ready)
    const durable = this.writableEnded ? ingest.untilSealed() : ingest.commit()
    durable.then(
      () => {
        this.#startedCommits.delete(ready)
        for (const { resolve } of ready) resolve()
      },
      (error: unknown) => void this.destroy(this.#fail(error)), // `_destroy` settles them
    )
  }

  /** Settles all calls of `commit()` once it is known what is durable. */
  #settleCommits(): void {
    const { committed = -1 } = this.#state
    const durable = this.#isSealed || this.#published ? this.#written : committed
    const unsettled = [...this.#startedCommits].flat().concat(this.#waitingCommits.splice(0))
    this.#startedCommits.clear()
    for (const { size, resolve, reject } of unsettled) {
      if (size <= durable) resolve()
      else this.result.then(() => reject(writeAfterEndError()), reject)
    }
  }

  /** Non-byte chunks destroy the stream: `Writable.write()` would throw, which `pipeline()` cannot catch. */
  override write(
    chunk: unknown,
    encoding?: BufferEncoding | ((error: Error | null | undefined) => void),
    callback?: (error: Error | null | undefined) => void,
  ): boolean {
    this.#hasLostBytes ||= this.#isClosed
    if (typeof chunk !== 'string' && !ArrayBuffer.isView(chunk)) {
      this.#hasLostBytes = true
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
  override end(...parameters: unknown[]): this {
    const [chunk] = parameters
    const hasChunk = chunk !== undefined && chunk !== null && typeof chunk !== 'function'
    this.#hasLostBytes ||= hasChunk && this.#isClosed
    return super.end(...(parameters as [])) // passed on as they came
  }

  /** Nothing is accepted any more. */
  get #isClosed(): boolean {
    return this.destroyed || this.writableEnded
  }

  /** @internal */
  override _write(
    chunk: Buffer,
    _encoding: string,
    callback: (error?: Error | null) => void,
  ): void {
    this.#writeBatch([chunk], callback)
  }

  /** @internal */
  override _writev(chunks: readonly Buffered[], callback: (error?: Error | null) => void): void {
    this.#writeBatch(
      chunks.map(({ chunk }) => chunk),
      callback,
    )
  }

  #writeBatch(chunks: readonly Buffer[], callback: (error?: Error | null) => void): void {
    this.#isWriting = true
    this.#run(
      () => this.#openIngest().write(chunks),
      error => {
        this.#isWriting = false
        if (error) this.#hasLostBytes = true
        else {
          for (const { length } of chunks) this.#written += length
          this.#startCommit() // before the next write
        }
        callback(error) // deducts these bytes from `writableLength`
      },
    )
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
        sourceRead: ingest.hasReadSource,
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
      this.#hasLostBytes ||= this.writableLength > 0
      if (this.#ingest === undefined) {
        this.#earlyDestroyError = error ?? null
        this.#opening.abort() // `_destroy` comes after `_construct`
      } else {
        const closed = new Promise<void>(resolve => this.once('close', resolve))
        announceRelease(this.#options.directory, closed)
      }
    }
    return super.destroy(error)
  }

  /** @internal */
  override _destroy(given: Error | null, callback: (error?: Error | null) => void): void {
    const error = this.#earlyDestroyError === undefined ? given : this.#earlyDestroyError
    openSinks--
    this.#options.signal?.removeEventListener('abort', this.#onAbort)
    if (this.#published) {
      // The claim was released before.
      this.#hasEnded = true
      this.#settleCommits()
      return callback(error)
    }
    let reason = this.#reasonFor(error)
    const ingest = this.#ingest
    const ended = (): void => {
      this.#hasEnded = true
      if (this.#published) reason = this.#reasonFor(error)
      else ingest?.context.diagnostics.failed(reason)
      this.#reject(reason) // without effect if it was published meanwhile
      this.#settleCommits()
      callback(error === this.#failure || this.#wouldLookFinished(error) ? reason : error)
    }
    if (ingest === undefined) return ended()
    const abandoned = ingest.abandon(state => {
      this.#finalState = state
      return (reason = this.#reasonFor(error))
    })
    abandoned.then(ended, (cause: unknown) => {
      const message = `Saving the state of ${this.id} failed: ${errorMessage(cause)}`
      ingest.context.warn(message, { cause })
      ended()
    })
  }

  /** The error of the result: our own failure, or the source's. */
  #reasonFor(error: Error | null): Error & { code: string } {
    const context = this.#state
    if (this.#failure !== undefined) {
      const own = this.#failure
      // Only now is it known whether the seal or a commit is durable, or the object published.
      if (own instanceof SpoolError && own.resumable !== isResumable(context)) {
        if (own.code === 'ERR_SPOOL_ABORTED') return abortedError(context, own.cause)
        const again = toSpoolError(own.cause, context)
        if (again instanceof SpoolError && again.code === own.code) return again
      }
      return Object.assign(own, {
        code: own instanceof SpoolError ? own.code : (errorCode(own) ?? own.name),
      })
    }
    if (error instanceof SpoolError && error.id === this.id) return error
    if (this.#isSealed || (this.writableEnded && error === null)) {
      return abortedError(context, error ?? undefined) // the source had ended successfully
    }
    return sourceFailedError(context, error)
  }

  /**
   * Node considers a sink finished if it is destroyed between `end()` and `finish`, so `pipeline()` would resolve. Without an `error` listener, emitting one would crash the process, so the stream closes silently.
   */
  #wouldLookFinished(error: Error | null): boolean {
    if (error !== null || this.#published) return false
    return this.writableEnded && this.listenerCount('error') > 0
  }

  #run(step: () => Promise<void>, callback: (error?: Error | null) => void): void {
    // On the next tick, so that an exception in a listener or callback is uncaught, as in Node's own streams.
    step().then(
      () => process.nextTick(callback),
      (error: unknown) => process.nextTick(callback, this.#fail(error)),
    )
  }

  #fail(error: unknown): Error {
    const reported = toSpoolError(error, this.#state)
    const failure = toError(reported)
    if (!this.destroyed) this.#failure ??= failure // later failures are consequences
    return failure
  }

  get #state(): ErrorContext {
    const state = this.#finalState ?? this.#ingest?.savedState ?? errorContext(this.#options, null)
    return this.#published ? { ...state, published: 'yes' } : state
  }

  get #isSealed(): boolean {
    return this.#state.kept === 'all'
  }

  #openIngest(): Ingest {
    if (this.#ingest === undefined) throw abortedError(this.#state)
    return this.#ingest
  }
}

/** The error of Node for a chunk that came too late. */
function writeAfterEndError(): Error {
  return Object.assign(new Error('write after end'), { code: 'ERR_STREAM_WRITE_AFTER_END' })
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
