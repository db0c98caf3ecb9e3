/**
 * A rotation job: tracks its open and ending objects and writes the manifest. Steps are serialised, so that a
 * timer never ends an object while it takes a record. Decisions depend on the records and their order, never
 * on timing.
 */
import { randomUUID } from 'node:crypto'
import type { Spool, UploadOptions, UploadResult } from '../index.js'
import { createManifest, type Manifest, type ManifestObject } from './manifest.js'
import type { RotateSettings } from './options.js'
import { CommittableOutput, RepeatableOutput } from './object-output.js'
import { EarlierRuns } from './earlier-runs.js'
import { ObjectWriter } from './object-writer.js'
import { PublishQueue } from './publish-queue.js'
import { explainCollision } from './key-collision.js'
import { KeySequences, type KeySequence } from './key-sequence.js'
import { TransformChain } from './transform-chain.js'
import { manifestUploadId, objectUploadId } from './upload-ids.js'
import { allowManyListeners } from '../util/abort-signals.js'
import { omitUndefined } from '../util/omit-undefined.js'

/** Callbacks of a job. */
export interface RotateJobListener {
  /** An object failed, so the job cannot succeed. */
  onFailure(error: unknown): void
  /** OSS has stored an object. */
  onObject(object: ManifestObject, result: UploadResult): void
}

/** An object that accepts records. */
interface OpenObject<T> {
  readonly writer: ObjectWriter<T>
  readonly timer: NodeJS.Timeout | undefined
}

export class RotateJob<T> {
  readonly #spool: Spool
  readonly #settings: RotateSettings<T>
  readonly #listener: RotateJobListener
  readonly #keySequences: KeySequences<T>
  /** Absent if the job is committed: no run repeats another one. */
  readonly #earlierRuns: EarlierRuns | undefined
  /** Keyed by sequence name, least recently used first. */
  readonly #openObjects = new Map<string, OpenObject<T>>()
  /** Objects that accept no more records and are not yet stored on OSS. */
  readonly #ending = new Set<Promise<void>>()
  /** Entries of all objects, in the order in which the objects were started. */
  readonly #manifestObjects: Promise<ManifestObject>[] = []
  readonly #unfinished = new Set<{ destroy(): void; done: Promise<unknown> }>()
  /** Outputs of the objects that OSS has not stored, if the job is committed. */
  readonly #committables = new Map<ObjectWriter<T>, CommittableOutput>()
  /** Publishes ended objects, if the job goes on without OSS. */
  readonly #queue: PublishQueue | undefined
  /** Totals of the objects that the queue has published. */
  #published = { records: 0, size: 0 }
  /** Part of the upload ids. Differs between committed runs, so that none replaces the bytes of another one. */
  readonly #run: string
  readonly #abortController = new AbortController()
  #lastStep: Promise<unknown> = Promise.resolve()
  #lastUsedSequence = ''
  #recordCount = 0

  constructor(spool: Spool, settings: RotateSettings<T>, listener: RotateJobListener) {
    this.#spool = spool
    this.#settings = settings
    this.#listener = listener
    this.#keySequences = new KeySequences(settings)
    const isRepeatable = settings.commit === undefined
    this.#run = isRepeatable ? '' : randomUUID()
    this.#earlierRuns = isRepeatable ? new EarlierRuns(spool, settings.job) : undefined
    allowManyListeners(this.#abortController.signal) // one per object
    this.#queue = this.#createQueue()
  }

  /** Writes records. Resolves when the job accepts the next ones. */
  write(records: Iterable<T>): Promise<void> {
    return this.#enqueue(async () => {
      await this.#earlierRuns?.load()
      for (const record of records) {
        const sequence = this.#keySequences.sequenceFor(record)
        let writer = this.#openObjects.get(sequence.name)?.writer
        if (writer !== undefined && this.#startsNewObject(writer, record)) {
          await this.#endObject(sequence.name)
          writer = undefined
        }
        writer ??= await this.#beginObject(sequence)
        this.#markUsed(sequence.name)
        const flushed = writer.write(record, this.#recordCount++)
        if (flushed !== undefined) await flushed
        if (this.#isFull(writer)) await this.#endObject(sequence.name)
        this.#throwIfAborted()
      }
    })
  }

  /**
   * Ends all open objects. Resolves when OSS has stored all objects and, unless the job is committed, the
   * manifest.
   */
  async finish(): Promise<Manifest> {
    await this.#enqueue(async () => {
      for (const name of this.#openObjects.keys()) await this.#endObject(name)
    })
    if (this.#queue !== undefined) {
      await this.#queue.finish()
      this.#throwIfAborted()
      return { job: this.#settings.job, ...this.#published, objects: [] }
    }
    const manifest = createManifest(this.#settings.job, await Promise.all(this.#manifestObjects))
    this.#throwIfAborted()
    if (this.#earlierRuns === undefined) return manifest
    await this.#earlierRuns.load()
    await this.#earlierRuns.checkComplete()
    await this.#writeManifest(manifest)
    return manifest
  }

  /** Makes all records so far durable, each object as one of its own. Resolves with their number. */
  async commit(): Promise<number> {
    const { records, durable } = await this.#enqueue(async () => {
      this.#throwIfAborted()
      await Promise.all([...this.#openObjects.values()].map(({ writer }) => writer.endMember()))
      const commits = [...this.#committables].map(async ([writer, output]) => {
        await writer.drained
        await output.commit()
      })
      return { records: this.#recordCount, durable: Promise.all(commits) } // not awaited by later records
    })
    await durable
    return records
  }

  /** Aborts the job. Sealed and committed uploads stay resumable. Resolves when all work has stopped. */
  async destroy(): Promise<void> {
    this.#abortController.abort()
    for (const { timer } of this.#openObjects.values()) clearTimeout(timer)
    const unfinished = [...this.#unfinished]
    for (const object of unfinished) object.destroy()
    await Promise.allSettled(unfinished.map(({ done }) => done))
    await this.#queue?.destroy()
  }

  #createQueue(): PublishQueue | undefined {
    const { commit, upload, maxEnding } = this.#settings
    const onFailure = commit?.onUploadFailure
    if (onFailure === undefined) return undefined
    const { signal } = this.#abortController
    const { parallel, retry, timeout } = upload
    const options = omitUndefined({ parallel, retry, timeout, signal })
    return new PublishQueue({
      concurrency: maxEnding,
      resume: id => this.#spool.resume(id, options),
      // Deferred, so that an exception in it becomes uncaught.
      onFailure: error => process.nextTick(onFailure, explainCollision(error, this.#settings)),
    })
  }

  #isFull(writer: ObjectWriter<T>): boolean {
    const { records, bytes } = this.#settings.every
    return writer.records >= records || writer.size >= bytes
  }

  #startsNewObject({ latestRecord }: ObjectWriter<T>, record: T): boolean {
    return (
      latestRecord !== undefined && this.#settings.cutBefore?.(record, latestRecord[0]) === true
    )
  }

  async #beginObject(sequence: KeySequence): Promise<ObjectWriter<T>> {
    const { maxOpen, createEncoder, createTransforms, recordId } = this.#settings
    const { every, upload, job, commit } = this.#settings
    const key = this.#keySequences.nextKey(sequence)
    const [leastRecentlyUsed] = this.#openObjects.keys()
    if (this.#openObjects.size >= maxOpen && leastRecentlyUsed !== undefined)
      await this.#endObject(leastRecentlyUsed)
    this.#throwIfAborted()
    const options = { ...upload, id: objectUploadId(job, key, this.#run) }
    // Before the output, because creating the encoder or the transforms may fail.
    const callbacks = { encoder: createEncoder(), recordId }
    const transforms = new TransformChain(createTransforms)
    this.#earlierRuns?.add(options.id, key)
    const output =
      commit === undefined ? this.#repeatable(key, options) : this.#committable(key, options)
    const writer = new ObjectWriter<T>(key, callbacks, transforms, output)
    this.#track(writer)
    if (output instanceof CommittableOutput) this.#committables.set(writer, output)
    if (this.#queue === undefined) {
      const reported = writer.done.then(result => this.#reportObject(writer, result))
      reported.catch((error: unknown) => this.#listener.onFailure(error))
      this.#manifestObjects.push(reported)
    } else {
      writer.done.catch((error: unknown) => {
        const isSealed = !this.#committables.has(writer)
        if (!isSealed) this.#listener.onFailure(error)
      })
    }
    const timer = every.ms === undefined ? undefined : this.#startTimer(sequence.name, every.ms)
    this.#openObjects.set(sequence.name, { writer, timer })
    return writer
  }

  /** Unref'd: pending writes keep the process alive, not this timer. */
  #startTimer(name: string, ms: number): NodeJS.Timeout {
    const timer = setTimeout(() => {
      const end = this.#enqueue(async () => {
        if (this.#openObjects.get(name)?.timer === timer) await this.#endObject(name)
      })
      end.catch((error: unknown) => this.#listener.onFailure(error))
    }, ms)
    return timer.unref()
  }

  /** Moves a sequence to the most recently used position. */
  #markUsed(name: string): void {
    const openObject = this.#openObjects.get(name)
    if (name === this.#lastUsedSequence || openObject === undefined) return
    this.#openObjects.delete(name)
    this.#openObjects.set(name, openObject)
    this.#lastUsedSequence = name
  }

  /**
   * Ends an object. Its upload finishes in the background; waits while more than `maxEnding` objects are
   * still ending.
   */
  async #endObject(name: string): Promise<void> {
    const openObject = this.#openObjects.get(name)
    if (openObject === undefined) return
    clearTimeout(openObject.timer)
    this.#openObjects.delete(name)
    this.#lastUsedSequence = ''
    if (this.#queue !== undefined) return this.#enqueueObject(openObject.writer, this.#queue)
    const ended: Promise<void> = openObject.writer
      .end()
      .then(
        () => {},
        (error: unknown) => this.#listener.onFailure(error),
      )
      .finally(() => this.#ending.delete(ended))
    this.#ending.add(ended)
    while (this.#ending.size > this.#settings.maxEnding) await Promise.race(this.#ending)
  }

  /**
   * Ends an object and lets the queue publish it. Waits until the object is sealed, so that objects become durable
   * in the order of their records, and a failure of OSS can no longer affect it.
   */
  async #enqueueObject(writer: ObjectWriter<T>, queue: PublishQueue): Promise<void> {
    const output = this.#committables.get(writer)
    if (output === undefined) return // failed; reported by its `done`
    const ended = writer.end()
    ended.catch(() => {}) // a failure after the seal is the queue's
    await Promise.race([ended, writer.drained.then(() => output.commit())])
    this.#committables.delete(writer)
    const { key, records, firstRecordId, lastRecordId } = writer
    const counts = { key, records, firstRecordId, lastRecordId } // the writer itself would hold memory
    queue.add(output, result => {
      this.#published.records += records
      this.#published.size += result.size
      this.#listener.onObject(manifestObject(counts, result), result)
    })
    await queue.untilAtMost(this.#settings.upload.maxSpoolBytes ?? Infinity)
  }

  #committable(key: string, upload: UploadOptions): CommittableOutput {
    const { signal } = this.#abortController
    // `once` and `replay` may be defaults of the spool.
    const whole = { once: false, replay: 'restart' } as const
    const options = { ...upload, ...whole, overwrite: false, signal }
    return new CommittableOutput(this.#spool.createWriteStream(key, options))
  }

  #repeatable(key: string, upload: UploadOptions): RepeatableOutput {
    const { signal } = this.#abortController
    // `replay` may be a default of the spool, but the records always begin with the first one.
    const options = { overwrite: false, ...upload, once: true, replay: 'restart', signal } as const
    // All open objects take records alternately: none may wait for another one to end.
    return new RepeatableOutput((source, compare) =>
      this.#spool.uploadNow(key, source, options, compare),
    )
  }

  /** Keeps track of an object until OSS has stored it, or it has failed. */
  #track(writer: ObjectWriter<T> | ObjectWriter<string>): void {
    this.#unfinished.add(writer)
    const remove = (): void => void this.#unfinished.delete(writer)
    void writer.done.then(remove, remove)
  }

  async #writeManifest(manifest: Manifest): Promise<void> {
    const { job, manifestKey, upload } = this.#settings
    const { headers: _headers, callback: _callback, ...rest } = upload
    const options = { ...rest, id: manifestUploadId(job), mime: 'application/json' }
    const callbacks = {
      encoder: { add: (json: string) => json, end: () => undefined },
      recordId: () => 0,
    }
    const writer = new ObjectWriter<string>(
      manifestKey,
      callbacks,
      new TransformChain(() => []),
      this.#repeatable(manifestKey, options),
    )
    this.#track(writer)
    await writer.write(`${JSON.stringify(manifest, null, 2)}\n`, 0)
    await writer.end()
  }

  #reportObject(writer: ObjectWriter<T>, result: UploadResult): ManifestObject {
    this.#committables.delete(writer)
    const object = manifestObject(writer, result)
    this.#listener.onObject(object, result)
    return object
  }

  #enqueue<R>(step: () => Promise<R>): Promise<R> {
    const result = this.#lastStep.then(step)
    this.#lastStep = result.catch(() => {}) // the caller of the step handles its error
    return result
  }

  #throwIfAborted(): void {
    if (this.#abortController.signal.aborted)
      throw new Error(`The job ${this.#settings.job} was aborted`)
  }
}

function manifestObject(
  {
    key,
    records,
    firstRecordId: first,
    lastRecordId: last,
  }: Pick<ObjectWriter<never>, 'key' | 'records' | 'firstRecordId' | 'lastRecordId'>,
  { size, crc64, sealedAt }: UploadResult,
): ManifestObject {
  return { key, size, crc64, records, first, last, created: sealedAt }
}
