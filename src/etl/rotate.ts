/**
 * Node `Writable` around a `RotateJob`. Emits `finish` when OSS has stored all objects and the manifest, which
 * is written after them.
 */
import { Writable } from 'node:stream'
import { SpoolError, invalidState, invalidType } from '../errors.js'
import { Spool, type UploadResult } from '../index.js'
import { CommitQueue } from './commit-queue.js'
import type { RotateWarning } from './early-ends.js'
import { explainCollision } from './key-collision.js'
import { RotateJob } from './rotate-job.js'
import type { Manifest, ManifestObject } from './manifest.js'
import { checkRotateOptions, type RotateOptions, type RotateSettings } from './options.js'
import type { RecordChunk } from './record-chunk.js'
import { toError } from '../util/error-shape.js'

/**
 * Number of records after which a commit that is due can begin. A stream passes on all that it has buffered at once, and each
 * record may end an object.
 */
const MAX_RECORDS_BETWEEN_COMMITS = 32

/**
 * Creates a sink for `pipeline()` or `stream-chain` that distributes records over objects: in parallel by the
 * placeholders of `key`, one after another by `every` and `cutBefore`. Each object is published exactly once
 * when the job is rerun: upload ids and keys derive from the job and its records, objects that an earlier run
 * has sealed are finished without being sent again (their records are compared), and no object is overwritten
 * by default.
 * @param spool – uploads the objects; its directory is the memory of the job
 * @throws TypeError, RangeError, or SpoolError `ERR_SPOOL_INVALID_KEY`, before any work
 */
export function rotate<T = string | Uint8Array>(
  spool: Spool,
  options: RotateOptions<T>,
): RotateStream<T> {
  if (!(spool instanceof Spool)) throw invalidType('spool', 'a Spool', spool)
  return new Rotation<T>(spool, checkRotateOptions<T>(options))
}

/**
 * The sink returned by `rotate`. Each `write()` takes one record or an array of records. The stream fails with
 * the first failure of any object: uploads sealed by then are finished by `resume()` or by the next run of the
 * job, all others are not published. Emits `object` with a `ManifestObject` each time OSS has stored an object.
 */
export interface RotateStream<T> extends Writable {
  /**
   * Resolves to the manifest when OSS has stored it; rejects if the job fails. It is safe to ignore. With the
   * option `commit`, no manifest is stored, and it resolves when OSS has stored all objects.
   */
  readonly result: Promise<Manifest>
  /**
   * Resolves when all records written so far, buffered ones included, are durable: in an object on OSS, or on
   * this disk in an upload that `resume` publishes if this process dies. Concurrent calls share one commit.
   * Needs the option `commit`.
   * @throws TypeError, by rejecting, without that option; otherwise the error that ends the job. Ignoring a
   * rejection is safe
   */
  commit(): Promise<void>
  /** Emitted when OSS has stored an object, with its entry of the manifest and the result of its upload. */
  on(event: 'object', listener: (object: ManifestObject, result: UploadResult) => void): this
  /** Emitted after each commit: the first `records` records are durable. Needs the option `commit`. */
  on(event: 'commit', listener: (records: number) => void): this
  /**
   * Emitted when objects ended early because of `maxOpen` or `maxOpenFiles`: at the first one, whenever their
   * number has doubled, and with the final number at the end.
   */
  on(event: 'warning', listener: (warning: RotateWarning) => void): this
  /** Events of `Writable`. */
  on(event: string | symbol, listener: (...args: never[]) => void): this
  /** Like `on`, for the next event only. */
  once(event: 'object', listener: (object: ManifestObject, result: UploadResult) => void): this
  /** Like `on`, for the next event only. */
  once(event: 'commit', listener: (records: number) => void): this
  /** Like `on`, for the next event only. */
  once(event: 'warning', listener: (warning: RotateWarning) => void): this
  /** Like `on`, for the next event only. */
  once(event: string | symbol, listener: (...args: never[]) => void): this
  /** Record type for `stream-chain`. Exists only in the type system. */
  __streamTypeW(): RecordChunk<T>
}

class Rotation<T> extends Writable implements RotateStream<T> {
  declare readonly __streamTypeW: () => RecordChunk<T>
  readonly result: Promise<Manifest>
  readonly #settings: RotateSettings<T>
  readonly #job: RotateJob<T>
  /** The signal that is a default of the spool. The job itself has no option for one. */
  readonly #signal: AbortSignal | undefined
  readonly #onAbort = (): void => {
    const what = `The job ${this.#settings.job} was aborted`
    void this.destroy(this.#firstFailure(this.#abortedError(what, this.#signal?.reason)))
  }
  /** Commits, if the job has them. */
  readonly #commits: CommitQueue | undefined
  /** Records that were written to this sink, buffered ones included. */
  #accepted = 0
  /** Accepted records were not written, because the job failed or was destroyed. */
  #hasLostRecords = false
  /** First failure of the job itself, as opposed to a failed source. */
  #failure: Error | undefined
  #isDone = false
  #resolveResult!: (manifest: Manifest) => void // set in the constructor
  #rejectResult!: (error: unknown) => void // set in the constructor

  constructor(spool: Spool, settings: RotateSettings<T>) {
    super({ objectMode: true })
    this.#settings = settings
    const onFailure = (error: unknown): void => void this.destroy(this.#firstFailure(error))
    this.#job = new RotateJob(spool, settings, {
      onFailure,
      // Deferred, so that an exception in a listener becomes uncaught instead of failing the object.
      onObject: (object, result) => process.nextTick(() => this.emit('object', object, result)),
      onWarning: warning => process.nextTick(() => this.emit('warning', warning)),
    })
    if (settings.commit !== undefined) {
      this.#commits = new CommitQueue(settings.commit, () => this.#job.commit(), {
        onFailure,
        onCommit: records => process.nextTick(() => this.emit('commit', records)),
      })
    }
    this.result = new Promise((resolve, reject) => {
      this.#resolveResult = resolve
      this.#rejectResult = reject
    })
    this.result.catch(() => {}) // users must handle the stream's `error` event instead
    this.#signal = spool.defaults.signal
    if (this.#signal?.aborted === true) this.#onAbort()
    else this.#signal?.addEventListener('abort', this.#onAbort, { once: true })
  }

  commit(): Promise<void> {
    const committed = this.#commit()
    committed.catch(() => {}) // users must handle the stream's `error` event instead
    return committed
  }

  async #commit(): Promise<void> {
    if (this.#commits === undefined) throw invalidState('commit() needs the option "commit"')
    // No commit can cover lost records.
    const records = this.#hasLostRecords ? Infinity : this.#accepted
    await this.#commits.request(records)
  }

  override _write(
    records: readonly T[],
    _encoding: string,
    callback: (error?: Error | null) => void,
  ): void {
    this.#write(records, callback)
  }

  override _writev(
    chunks: readonly { readonly chunk: readonly T[] }[],
    callback: (error?: Error | null) => void,
  ): void {
    this.#write(
      chunks.flatMap(({ chunk }) => chunk),
      callback,
    )
  }

  override _final(callback: (error?: Error | null) => void): void {
    const finished = this.#job.finish().then(manifest => {
      this.#isDone = true
      this.#commits?.finish()
      process.nextTick(this.#resolveResult, manifest) // after the events of its objects
    })
    this.#callbackAfter(finished, callback)
  }

  override write(...parameters: unknown[]): boolean {
    const [chunk, ...rest] = parameters
    const records = chunk === null ? null : this.#accept(chunk) // `Writable` refuses null
    return super.write(...([records, ...rest] as [unknown]))
  }

  override end(...parameters: unknown[]): this {
    const [chunk, ...rest] = parameters
    const hasChunk = chunk !== undefined && chunk !== null && typeof chunk !== 'function'
    return super.end(...((hasChunk ? [this.#accept(chunk), ...rest] : parameters) as []))
  }

  /** Counts the records of a chunk. Returns them as the chunk that `_write` gets. */
  #accept(chunk: unknown): readonly T[] {
    const records = this.#settings.recordsOf(chunk as T) // the type of `write()` is that of `Writable`
    this.#hasLostRecords ||= this.destroyed || this.writableEnded
    this.#accepted += records.length
    return records
  }

  override destroy(error?: Error): this {
    this.#hasLostRecords ||= !this.destroyed && this.writableLength > 0
    return super.destroy(error)
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#signal?.removeEventListener('abort', this.#onAbort)
    const reason = this.#resultError(error)
    // Node treats a sink destroyed between `end()` and `finish` as finished.
    const wouldLookFinished = error === null && !this.#isDone && this.writableEnded
    const destroyError = wouldLookFinished && this.listenerCount('error') > 0 ? reason : error
    void this.#stop().then(() => {
      this.#commits?.fail(reason) // no effect if the job is done
      this.#rejectResult(reason) // no effect if the job is done
      callback(destroyError)
    })
  }

  async #stop(): Promise<void> {
    await this.#job.destroy()
    await this.#commits?.idle()
  }

  #write(records: readonly T[], callback: (error?: Error | null) => void): void {
    this.#callbackAfter(this.#writeToJob(records), error => {
      if (error) this.#hasLostRecords = true
      callback(error)
    })
  }

  async #writeToJob(records: readonly T[]): Promise<void> {
    if (this.#commits === undefined) return this.#job.write(records)
    for (let rest = records; rest.length > 0;) {
      const some = rest.slice(0, Math.min(this.#commits.untilDue, MAX_RECORDS_BETWEEN_COMMITS))
      rest = rest.slice(some.length)
      await this.#job.write(some)
      this.#commits.add(some.length)
    }
  }

  #callbackAfter(step: Promise<void>, callback: (error?: Error | null) => void): void {
    // On the next tick, so that an exception in a listener or callback is uncaught, as in Node's own streams.
    step.then(
      () => process.nextTick(callback),
      (error: unknown) => process.nextTick(callback, this.#firstFailure(error)),
    )
  }

  #firstFailure(error: unknown): Error {
    const failure = toError(explainCollision(error, this.#settings))
    if (!this.destroyed) this.#failure ??= failure // later errors are consequences of the first one
    return this.#failure ?? failure
  }

  /** Returns the rejection reason of `result`: our own failure, else an error that blames the source. */
  #resultError(error: Error | null): Error {
    if (this.#failure !== undefined) return this.#failure
    if (error instanceof SpoolError) return error
    if (error === null && this.writableEnded) {
      return this.#abortedError('The sink was destroyed before it finished')
    }
    const reason = error === null ? 'the sink was destroyed before it ended' : error.message
    const cause = error === null ? {} : { cause: error }
    const { consequence, hint } = this.#consequence
    const message = `The source of the job ${this.#settings.job} failed: ${reason}. ${consequence}`
    return new SpoolError('ERR_SPOOL_SOURCE_FAILED', message, { hint, ...cause })
  }

  #abortedError(what: string, cause?: unknown): Error {
    const { consequence, hint } = this.#consequence
    return new SpoolError('ERR_SPOOL_ABORTED', `${what}. ${consequence}`, { hint, cause })
  }

  /** What a failure leaves, and what to do then. */
  get #consequence(): { readonly consequence: string; readonly hint: string } {
    const { job } = this.#settings
    if (this.#commits === undefined) {
      return {
        consequence: `The manifest of the job ${job} was not published`,
        hint: 'Run the job again. It sends only what is missing.',
      }
    }
    return {
      consequence: `Records after the last commit of the job ${job} are not published`,
      hint: 'Publish what was committed: call `spool.resume(id)` for each resumable upload of `spool.uploads()`.',
    }
  }
}
