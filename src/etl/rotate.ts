/**
 * The sink of a job: what Node's streams ask of a `Writable`. `finish` means done: it comes when OSS
 * holds all objects and, written after them, the manifest. Everything it does is in `job.ts`.
 */
import { Writable } from 'node:stream'
import { SpoolError } from '../errors.js'
import type { Spool } from '../index.js'
import { RotateJob } from './job.js'
import type { Manifest, ManifestObject } from './manifest.js'
import { checkRotateOptions, type RotateOptions, type RotateSettings } from './options.js'

/**
 * Makes a sink for `pipeline()` and `stream-chain` that spreads records over objects: one after the
 * other by `every` and `cutBefore`, beside each other by what `key` is made of. Exactly once: ids and
 * keys follow from the job and the records, objects that an earlier run has sealed are finished and
 * not sent again (what comes for them is compared), and no object is overwritten.
 * @throws TypeError, RangeError, SpoolError `ERR_SPOOL_INVALID_KEY`, before any work
 */
export function rotate<T = string | Uint8Array>(
  spool: Spool,
  options: RotateOptions<T>,
): RotateStream<T> {
  return new Rotation<T>(spool, checkRotateOptions<T>(options))
}

/**
 * The sink that `rotate` makes. What one `write` gives is a record. It fails with the first failure of
 * any of its objects: what is sealed by then is finished by `resume` or by the next run of the job, the
 * rest is not published. Emits `object` (`ManifestObject`) whenever OSS holds one more.
 */
export interface RotateStream<T> extends Writable {
  /** The manifest, once OSS holds it; rejects with what ended the job. Ignoring it is safe. */
  readonly result: Promise<Manifest>
  /** OSS holds one more object. */
  on(event: 'object', listener: (object: ManifestObject) => void): this
  /** The events of a `Writable`. */
  on(event: string | symbol, listener: (...args: never[]) => void): this
  /** As `on`, for the next one only. */
  once(event: 'object', listener: (object: ManifestObject) => void): this
  /** As `on`, for the next one only. */
  once(event: string | symbol, listener: (...args: never[]) => void): this
  /** For `stream-chain`: the type of its records. There is nothing at run time. */
  __streamTypeW(): T
}

class Rotation<T> extends Writable implements RotateStream<T> {
  declare readonly __streamTypeW: () => T
  readonly result: Promise<Manifest>
  readonly #jobName: string
  readonly #job: RotateJob<T>
  /** What ended us from the inside, as opposed to a source that failed. */
  #failure: Error | undefined
  #isDone = false
  #resolveResult!: (manifest: Manifest) => void // set in the constructor
  #rejectResult!: (error: unknown) => void // set in the constructor

  constructor(spool: Spool, settings: RotateSettings<T>) {
    super({ objectMode: true })
    this.#jobName = settings.job
    this.#job = new RotateJob(spool, settings, {
      onFailure: error => void this.destroy(this.#firstFailure(error)),
      // Later, so that a listener that throws is its owner's uncaught exception, not our failed object.
      onObject: object => process.nextTick(() => this.emit('object', object)),
    })
    this.result = new Promise((resolve, reject) => {
      this.#resolveResult = resolve
      this.#rejectResult = reject
    })
    this.result.catch(() => {}) // the stream's own `error` event is the one that must be handled
  }

  override _write(record: T, _encoding: string, callback: (error?: Error | null) => void): void {
    this.#callbackAfter(this.#job.write([record]), callback)
  }

  override _writev(
    records: readonly { readonly chunk: T }[],
    callback: (error?: Error | null) => void,
  ): void {
    this.#callbackAfter(this.#job.write(records.map(({ chunk }) => chunk)), callback)
  }

  override _final(callback: (error?: Error | null) => void): void {
    const finished = this.#job.finish().then(manifest => {
      this.#isDone = true
      this.#resolveResult(manifest)
    })
    this.#callbackAfter(finished, callback)
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    const reason = this.#resultError(error)
    // Node takes a sink that is destroyed between `end()` and `finish` for one that is done.
    const wouldLookFinished = error === null && !this.#isDone && this.writableEnded
    const destroyError = wouldLookFinished && this.listenerCount('error') > 0 ? reason : error
    void this.#job.destroy().then(() => {
      this.#rejectResult(reason) // unless it is done
      callback(destroyError)
    })
  }

  #callbackAfter(step: Promise<void>, callback: (error?: Error | null) => void): void {
    step.then(
      () => callback(),
      (error: unknown) => callback(this.#firstFailure(error)),
    )
  }

  #firstFailure(error: unknown): Error {
    const failure = error instanceof Error ? error : new Error(String(error))
    if (!this.destroyed) this.#failure ??= failure // what fails afterwards, fails because of it
    return this.#failure ?? failure
  }

  /** For the result: a failure of ours as it is, else that of whoever fed us. */
  #resultError(error: Error | null): Error {
    if (this.#failure !== undefined) return this.#failure
    if (error instanceof SpoolError) return error
    const consequence = `the manifest of the job ${this.#jobName} is not published`
    const hint = 'Run the job again: it sends only what is missing.'
    if (error === null && this.writableEnded) {
      const message = `The sink was destroyed before its end; ${consequence}`
      return new SpoolError('ERR_SPOOL_ABORTED', message, { hint })
    }
    const reason = error === null ? 'the sink was destroyed before its end' : error.message
    const cause = error === null ? {} : { cause: error }
    const message = `The source of the job ${this.#jobName} failed: ${reason}; ${consequence}`
    return new SpoolError('ERR_SPOOL_SOURCE_FAILED', message, { hint, ...cause })
  }
}
