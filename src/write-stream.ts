/**
 * The sink. `finish` means done: it comes only when OSS holds the whole object (rule 1). Everything
 * it does is in `upload/`; here is only what Node's streams ask for.
 */
import { Writable, type Readable } from 'node:stream'
import { inspect } from 'node:util'
import { announceRelease } from './disk/claim.js'
import { invalidType, SpoolError } from './errors.js'
import type { SpoolWarning } from './upload/context.js'
import {
  abortedError,
  toSpoolError,
  publishedState,
  type ErrorContext,
} from './upload/error-mapping.js'
import type { Ingest } from './upload/ingest.js'
import type { ProgressEvent } from './upload/progress.js'
import { resultOf, type UploadResult } from './upload/result.js'

/**
 * Bytes buffered while a batch is written. Large batches make the disk fast; larger ones keep the event
 * loop from the sockets for too long, and parts wait.
 */
const HIGH_WATER_MARK_BYTES = 1024 * 1024

/** What the sinks of a process may buffer together, more or less: of many, the later ones get less. */
const TOTAL_BUFFER_BYTES = 64 * 1024 * 1024
const MIN_HIGH_WATER_MARK_BYTES = 64 * 1024

/** Sinks of this process that have not closed yet. */
let openSinks = 0

/** What a sink is made of. */
export interface SinkOptions {
  readonly id: string
  readonly bucket: string
  readonly key: string
  /** The upload's directory. */
  readonly directory: string
  /** Locks the upload and makes its first checkpoint; `signal`: it is not wanted any more. */
  readonly open: (signal: AbortSignal) => Promise<Ingest>
  readonly signal: AbortSignal | undefined
}

/** A chunk as `_writev` gets it. */
interface Buffered {
  readonly chunk: Buffer
}

/**
 * A `Writable` of strings and bytes. Events beside those of a `Writable`: `progress`
 * (`ProgressEvent`, at most ten a second) and `warning` (`SpoolWarning`: something failed and is
 * tried again).
 */
// oxlint-disable-next-line typescript/no-unsafe-declaration-merging -- only adds overloads of `on`
export class SpoolWriteStream extends Writable {
  /** Id of the upload. */
  readonly id: string
  /** The result; rejects with what ended the upload. Ignoring it is safe. */
  readonly result: Promise<UploadResult>

  readonly #options: SinkOptions
  readonly #opening = new AbortController()
  #ingest: Ingest | undefined
  /** Whether the seal was durable when it ended. */
  #sealed: boolean | undefined
  #published = false
  /** What ended us from the inside, as opposed to a source that failed. */
  #failure: Error | undefined
  #resolve!: (result: UploadResult) => void // set in the constructor
  #reject!: (error: unknown) => void // set in the constructor
  readonly #onAbort = (): void =>
    void this.destroy(this.#fail(abortedError(this.#errorContext(), this.#options.signal?.reason)))

  /** @internal Made by `Spool.createWriteStream`. */
  constructor(sink: SinkOptions) {
    super({ highWaterMark: highWaterMark(++openSinks) })
    this.id = sink.id
    this.#options = sink
    this.result = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
    this.result.catch(() => {}) // the stream's own `error` event is the one that must be handled
    if (sink.signal?.aborted) this.#onAbort()
    else sink.signal?.addEventListener('abort', this.#onAbort, { once: true })
  }

  /** @internal */
  override _construct(callback: (error?: Error | null) => void): void {
    this.#run(async () => {
      const ingest = await this.#options.open(this.#opening.signal)
      ingest.onFatal = error => void this.destroy(this.#fail(error))
      this.#ingest = ingest
    }, callback)
  }

  /** An object is its source's failure; `Writable` would throw into whoever pipes, past `pipeline()`. */
  override write(
    chunk: unknown,
    encoding?: BufferEncoding | ((error: Error | null | undefined) => void),
    callback?: (error: Error | null | undefined) => void,
  ): boolean {
    if (typeof chunk !== 'string' && !ArrayBuffer.isView(chunk)) {
      const error = invalidType('chunk', 'a string, Buffer, TypedArray or DataView', chunk)
      const told = typeof encoding === 'function' ? encoding : callback
      if (told !== undefined) process.nextTick(told, error)
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
    if (this.#published) return callback(error) // all was let go before
    let reason = this.#reasonFor(error)
    const ingest = this.#ingest
    const ended = (): void => {
      if (!this.#published) ingest?.context.diagnostics.failed(reason)
      this.#reject(reason) // unless it was published before it noticed
      callback(error === this.#failure || this.#wouldLookFinished(error) ? reason : error)
    }
    if (ingest === undefined) return ended()
    const abandoned = ingest.abandon(sealed => {
      this.#sealed = sealed
      return (reason = this.#reasonFor(error))
    })
    abandoned.then(ended, (cause: unknown) => {
      ingest.context.warn(`The state of ${this.id} could not be written: ${String(cause)}`, {
        cause,
      })
      ended()
    })
  }

  /** For the result: our own failure, or that of whoever fed us. */
  #reasonFor(error: Error | null): Error & { code: string } {
    if (this.#failure !== undefined) {
      const own = this.#failure
      // The caller's signal: by now it is known whether the seal, then under way, is durable.
      const was = own instanceof SpoolError && own.code === 'ERR_SPOOL_ABORTED'
      if (was && own.resumable !== this.#isSealed)
        return abortedError(this.#errorContext(), own.cause)
      return Object.assign(own, { code: own instanceof SpoolError ? own.code : errorCodeOf(own) })
    }
    if (error instanceof SpoolError && error.id === this.id) return error
    if (this.#isSealed || (this.writableEnded && error === null)) {
      return abortedError(this.#errorContext(), error ?? undefined) // the source has ended well before
    }
    const { bucket, key } = this.#options
    const why = error === null ? 'the stream was destroyed before its end' : error.message
    return new SpoolError(
      'ERR_SPOOL_SOURCE_FAILED',
      `The source of oss://${bucket}/${key} failed: ${why}; nothing published`,
      { id: this.id, ...(error === null ? {} : { cause: error }) },
    )
  }

  /**
   * Node takes a sink that is destroyed between `end()` and `finish` for one that is done: `pipeline()`
   * would resolve. Where nobody listens, nobody is misled, and an `error` would end the process.
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
    const failure = reported instanceof Error ? reported : new Error(inspect(reported))
    if (!this.destroyed) this.#failure ??= failure // what fails afterwards, fails because of it
    return failure
  }

  #errorContext(): ErrorContext {
    const { bucket, key } = this.#options
    const published = publishedState(this.#ingest?.phase)
    return {
      id: this.id,
      bucket,
      key,
      sealed: this.#isSealed,
      published,
      freed: this.#ingest?.freed,
    }
  }

  get #isSealed(): boolean {
    return this.#sealed ?? this.#ingest?.sealed ?? false
  }

  #openIngest(): Ingest {
    if (this.#ingest === undefined) throw abortedError(this.#errorContext())
    return this.#ingest
  }
}

/** Bytes that a sink buffers before it asks its source to wait, when so many sinks are open. */
function highWaterMark(sinks: number): number {
  return Math.min(
    HIGH_WATER_MARK_BYTES,
    Math.max(MIN_HIGH_WATER_MARK_BYTES, Math.floor(TOTAL_BUFFER_BYTES / sinks)),
  )
}

/** For the record: a system error's code, else the error's name. */
function errorCodeOf(error: Error): string {
  return 'code' in error && typeof error.code === 'string' ? error.code : error.name
}

/** The two events of our own, so that listeners are typed. */
// oxlint-disable-next-line typescript/no-unsafe-declaration-merging -- only adds overloads of `on`
export interface SpoolWriteStream {
  /** Emitted ten times a second at most; the last one is never lost. */
  on(event: 'progress', listener: (progress: ProgressEvent) => void): this
  /** Something failed and is tried again. */
  on(event: 'warning', listener: (warning: SpoolWarning) => void): this
  /** Events of a `Writable`. */
  on(event: 'error', listener: (error: Error) => void): this
  /** Events of a `Writable`. */
  on(event: 'close' | 'drain' | 'finish', listener: () => void): this
  /** Events of a `Writable`. */
  on(event: 'pipe' | 'unpipe', listener: (source: Readable) => void): this
  /** Other events. */
  on(event: string | symbol, listener: (...args: never[]) => void): this
  /** As `on`, for the next one only. */
  once(event: 'progress', listener: (progress: ProgressEvent) => void): this
  /** As `on`, for the next one only. */
  once(event: 'warning', listener: (warning: SpoolWarning) => void): this
  /** As `on`, for the next one only. */
  once(event: 'error', listener: (error: Error) => void): this
  /** As `on`, for the next one only. */
  once(event: 'close' | 'drain' | 'finish', listener: () => void): this
  /** As `on`, for the next one only. */
  once(event: 'pipe' | 'unpipe', listener: (source: Readable) => void): this
  /** As `on`, for the next one only. */
  once(event: string | symbol, listener: (...args: never[]) => void): this
}
