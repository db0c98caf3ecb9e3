/**
 * A rotation job: tracks its open and ending objects and writes the manifest. Steps are serialised, so that a
 * timer never ends an object while it takes a record. Decisions depend on the records and their order, never
 * on timing.
 */
import { randomUUID } from 'node:crypto'
import type { Duplex } from 'node:stream'
import type { Spool, UploadOptions, UploadResult } from '../index.js'
import { skipBadRecord, badRecordError, type BadRecord } from './bad-records.js'
import { deadLetterLine } from './dead-letter.js'
import { createManifest, type Manifest, type ManifestObject } from './manifest.js'
import type { RotateSettings } from './options.js'
import { EarlierRuns } from './earlier-runs.js'
import { EarlyEnds, type OpenLimit, type RotateWarning } from './early-ends.js'
import { explainCollision } from './key-collision.js'
import { CommittableOutput, RepeatableOutput, type ObjectOutput } from './object-output.js'
import { ObjectTimers } from './object-timers.js'
import { ObjectWriter } from './object-writer.js'
import { OpenObjects } from './open-objects.js'
import { RecordPlacement, type CurrentRecord } from './record-placement.js'
import type { ObjectEncoder } from './object-format.js'
import { PublishQueue } from './publish-queue.js'
import { KeySequences, type KeySequence } from './key-sequence.js'
import { manifestUploadId, objectUploadId, successMarkerUploadId } from './upload-ids.js'
import { allowManyListeners } from '../util/abort-signals.js'
import { omitUndefined } from '../util/omit-undefined.js'

/** Callbacks of a job. */
export interface RotateJobListener {
  /** An object failed, so the job cannot succeed. */
  onFailure(error: unknown): void
  /** OSS has stored an object. */
  onObject(object: ManifestObject, result: UploadResult): void
  /** Objects ended early because of a limit. */
  onWarning(warning: RotateWarning): void
}

/** An object that accepts records. */
interface OpenObject<T> {
  readonly writer: ObjectWriter<T>
  readonly timers: ObjectTimers
}

/** An object that OSS has not stored. */
interface UnfinishedObject {
  readonly done: Promise<unknown>
  destroy(): void
}

/** Type of an object without content. */
const MARKER_MIME = 'application/octet-stream'

/** The object of the bad records that were skipped. */
interface DeadLetter {
  readonly writer: ObjectWriter<string>
  /** `undefined` if the queue publishes it. */
  readonly entry: Promise<ManifestObject> | undefined
}

/** Encoder of text that is written as it is. */
const TEXT_ENCODER: ObjectEncoder<string> = { add: text => text, end: () => undefined }

export class RotateJob<T> {
  readonly #spool: Spool
  readonly #settings: RotateSettings<T>
  readonly #listener: RotateJobListener
  readonly #keySequences: KeySequences<T>
  readonly #placement: RecordPlacement<T>
  /** Encoder of the next object. */
  #nextEncoder: ObjectEncoder<T> | undefined
  /** Absent if the job is committed: no run repeats another one. */
  readonly #earlierRuns: EarlierRuns | undefined
  readonly #openObjects = new OpenObjects<OpenObject<T>>()
  readonly #earlyEnds: EarlyEnds
  /** Number of objects that accept no more records and are not yet stored on OSS. */
  #endingCount = 0
  /** Called when one of them is stored, or has failed. */
  #onEnded: () => void = () => {}
  /** Entries of all objects, in the order in which the objects were started. */
  readonly #manifestObjects: Promise<ManifestObject>[] = []
  readonly #unfinished = new Set<UnfinishedObject>()
  /** Outputs of the objects that OSS has not stored, if the job is committed. */
  readonly #committables = new Map<ObjectWriter<unknown>, CommittableOutput>()
  /** Publishes ended objects, if the job goes on without OSS. */
  readonly #queue: PublishQueue | undefined
  /** Totals of the objects that the queue has published. */
  #published = { records: 0, size: 0 }
  /** Objects with records that no commit covers, if the job is committed. */
  readonly #uncommitted = new Set<ObjectWriter<unknown>>()
  /** Part of the upload ids. Differs between committed runs, so that none replaces the bytes of another one. */
  readonly #run: string
  /** Objects arrive slowly if many are open, and most stay small. */
  readonly #uploadDefaults: Required<Pick<UploadOptions, 'start'>>
  readonly #abortController = new AbortController()
  #lastStep: Promise<unknown> = Promise.resolve()
  #recordCount = 0
  #skipped = 0
  /** Bad records that were skipped, and the entry of their object. */
  #deadLetter: DeadLetter | undefined
  readonly #targetOf = (name: string): ObjectWriter<T> | undefined =>
    this.#openObjects.get(name)?.writer

  constructor(spool: Spool, settings: RotateSettings<T>, listener: RotateJobListener) {
    this.#spool = spool
    this.#settings = settings
    this.#listener = listener
    this.#keySequences = new KeySequences(settings)
    this.#placement = new RecordPlacement(settings, this.#keySequences)
    const isRepeatable = settings.commit === undefined
    this.#run = isRepeatable ? '' : randomUUID()
    this.#earlierRuns = isRepeatable ? new EarlierRuns(spool, settings.job) : undefined
    this.#earlyEnds = new EarlyEnds(settings, warning => listener.onWarning(warning))
    this.#uploadDefaults = { start: spool.defaults.start ?? 'first-part' }
    allowManyListeners(this.#abortController.signal) // one per object
    this.#queue = this.#createQueue()
  }

  /** Writes records. Resolves when the job accepts the next ones. */
  write(records: Iterable<T>): Promise<void> {
    return this.#enqueue(async () => {
      await this.#earlierRuns?.load()
      for (const record of records) {
        const current: CurrentRecord<T> = { record, number: this.#recordCount }
        const nextEncoder = (this.#nextEncoder ??= this.#settings.createEncoder())
        let placed
        try {
          placed = this.#placement.place(current, this.#targetOf, nextEncoder)
        } catch (error) {
          await this.#skip(error, current)
          this.#recordCount++ // not before: no commit covers a record that fails the job
          this.#throwIfAborted()
          continue
        }
        const { sequence, startsObject } = placed
        if (startsObject) await this.#endObject(sequence.name)
        const object =
          this.#openObjects.use(sequence.name) ?? (await this.#beginObject(sequence, nextEncoder))
        const { writer, timers } = object
        const flushed = writer.write(placed)
        this.#recordCount++
        timers.refresh()
        if (this.#settings.commit !== undefined) this.#uncommitted.add(writer)
        if (flushed !== undefined) await flushed
        if (this.#isFull(writer)) await this.#endObject(sequence.name)
        else if (flushed !== undefined) await this.#addFile(sequence.name)
        this.#throwIfAborted()
      }
    })
  }

  /**
   * Ends all open objects. Resolves when OSS has stored all objects and, unless the job is committed, the
   * manifest and the success marker.
   */
  async finish(): Promise<Manifest> {
    await this.#enqueue(async () => {
      for (const name of this.#openObjects.names()) await this.#endObject(name)
      this.#earlyEnds.finish()
      if (this.#deadLetter !== undefined) await this.#endWriter(this.#deadLetter.writer)
    })
    if (this.#queue !== undefined) {
      await this.#queue.finish()
      this.#throwIfAborted()
      return { job: this.#settings.job, ...this.#published, ...(await this.#skips()), objects: [] }
    }
    const objects = await Promise.all(this.#manifestObjects)
    const manifest = createManifest(this.#settings.job, objects, await this.#skips())
    this.#throwIfAborted()
    if (this.#earlierRuns === undefined) return manifest
    await this.#earlierRuns.load()
    await this.#earlierRuns.checkComplete()
    await this.#writeManifest(manifest).catch((error: unknown) => {
      throw this.#earlierRuns?.explainManifest(error)
    })
    await this.#writeSuccessMarker()
    return manifest
  }

  /** Makes all records so far durable, each object as one of its own. Resolves with their number. */
  async commit(): Promise<number> {
    const { records, durable } = await this.#enqueue(async () => {
      this.#throwIfAborted()
      const writers = [...this.#uncommitted]
      this.#uncommitted.clear()
      await Promise.all(writers.map(writer => writer.endMember()))
      const commits = writers.map(async writer => {
        await writer.drained
        await this.#committables.get(writer)?.commit() // OSS may have stored it meanwhile
      })
      return { records: this.#recordCount, durable: Promise.all(commits) } // not awaited by later records
    })
    await durable
    return records
  }

  /** Aborts the job. Sealed and committed uploads stay resumable. Resolves when all work has stopped. */
  async destroy(): Promise<void> {
    this.#abortController.abort()
    for (const name of this.#openObjects.names()) this.#openObjects.get(name)?.timers.clear()
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

  /** Skips a bad record. @throws if it fails the job */
  async #skip(error: unknown, bad: BadRecord<T>): Promise<void> {
    const { onBadRecord, deadLetter } = this.#settings
    if (!this.#canSkip) throw badRecordError(error, bad)
    const reason = skipBadRecord(error, bad, onBadRecord)
    this.#skipped++
    if (deadLetter === undefined) return
    const { writer } = (this.#deadLetter ??= this.#beginDeadLetter(deadLetter.key))
    const line = deadLetterLine(bad, reason)
    if (this.#settings.commit !== undefined) this.#uncommitted.add(writer)
    await writer.write({ record: undefined, id: bad.number, bytes: line })
  }

  get #canSkip(): boolean {
    const { onBadRecord, deadLetter } = this.#settings
    return onBadRecord !== undefined || deadLetter !== undefined
  }

  /** Returns what the manifest says about bad records. */
  async #skips(): Promise<Pick<Manifest, 'skipped' | 'deadLetter'>> {
    if (!this.#canSkip) return {}
    return omitUndefined({ skipped: this.#skipped, deadLetter: await this.#deadLetter?.entry })
  }

  #beginDeadLetter(key: string): DeadLetter {
    const { headers: _headers, callback: _callback, ...upload } = this.#settings.upload
    const writer = this.#createWriter<string>(key, TEXT_ENCODER, undefined, {
      ...upload,
      mime: 'application/x-ndjson',
    })
    return { writer, entry: this.#report(writer) }
  }

  async #beginObject(sequence: KeySequence, encoder: ObjectEncoder<T>): Promise<OpenObject<T>> {
    const { maxOpen, createTransforms, every, upload, commit } = this.#settings
    const { name } = sequence
    const key = this.#keySequences.nextKey(sequence)
    if (this.#openObjects.size >= maxOpen)
      await this.#endEarly(this.#openObjects.leastRecentlyUsed, 'maxOpen')
    this.#throwIfAborted()
    this.#nextEncoder = undefined
    const writer = this.#createWriter(key, encoder, createTransforms, upload)
    const entry = this.#report(writer)
    if (entry !== undefined) this.#manifestObjects.push(entry)
    const timers = new ObjectTimers(every, () => this.#endIfDue(name, timers))
    const object = { writer, timers }
    this.#openObjects.add(name, object)
    if (commit !== undefined) await this.#addFile(name) // the next commit creates it
    return object
  }

  #createWriter<R>(
    key: string,
    encoder: ObjectEncoder<R>,
    createTransforms: (() => readonly Duplex[]) | undefined,
    upload: UploadOptions,
  ): ObjectWriter<R> {
    const id = objectUploadId(this.#settings.job, key, this.#run)
    this.#earlierRuns?.add(id, key)
    const createOutput = (): ObjectOutput => this.#createOutput(writer, { ...upload, id })
    const writer = new ObjectWriter<R>(key, encoder, { createTransforms, createOutput })
    this.#track(writer)
    return writer
  }

  /**
   * Reports an object when OSS has stored it, or if it fails. Returns its entry, unless the queue reports the
   * object.
   */
  #report(writer: ObjectWriter<unknown>): Promise<ManifestObject> | undefined {
    if (this.#queue === undefined) {
      const reported = writer.done.then(result => this.#reportObject(writer, result))
      reported.catch((error: unknown) => this.#listener.onFailure(error))
      return reported
    }
    writer.done.catch((error: unknown) => {
      const isSealed = !this.#committables.has(writer)
      if (!isSealed) this.#listener.onFailure(error)
    })
    return undefined
  }

  #createOutput(
    writer: ObjectWriter<unknown>,
    options: UploadOptions & { readonly id: string },
  ): ObjectOutput {
    const { key } = writer
    if (this.#settings.commit === undefined) return this.#repeatable(key, options)
    const output = this.#committable(key, options)
    this.#committables.set(writer, output)
    return output
  }

  /** Ends an object whose timers have fired, unless it got another record or ended before this step. */
  #endIfDue(name: string, timers: ObjectTimers): void {
    const end = this.#enqueue(async () => {
      const isOpen = this.#openObjects.get(name)?.timers === timers
      if (isOpen && timers.isDue) await this.#endObject(name)
    })
    end.catch((error: unknown) => this.#listener.onFailure(error))
  }

  /**
   * Counts the object that is in use among those with a file. Depends on the size of its records, so that a rerun
   * ends the same objects early.
   */
  async #addFile(name: string): Promise<void> {
    this.#openObjects.addFile(name)
    if (this.#openObjects.fileCount > this.#settings.maxOpenFiles)
      await this.#endEarly(this.#openObjects.leastRecentlyUsedFile, 'maxOpenFiles')
  }

  async #endEarly(name: string | undefined, limit: OpenLimit): Promise<void> {
    if (name === undefined) return
    this.#earlyEnds.add(limit)
    await this.#endObject(name)
  }

  /**
   * Ends an object. Its upload finishes in the background; waits while more than `maxEnding` objects are
   * still ending.
   */
  async #endObject(name: string): Promise<void> {
    const object = this.#openObjects.get(name)
    if (object === undefined) return
    object.timers.clear()
    this.#openObjects.delete(name)
    await this.#endWriter(object.writer)
  }

  async #endWriter(writer: ObjectWriter<unknown>): Promise<void> {
    if (this.#queue !== undefined) return this.#enqueueObject(writer, this.#queue)
    this.#endingCount++
    const onEnded = (): void => {
      this.#endingCount--
      this.#onEnded()
    }
    writer
      .end()
      .catch((error: unknown) => this.#listener.onFailure(error))
      .finally(onEnded)
    while (this.#endingCount > this.#settings.maxEnding)
      await new Promise<void>(resolve => (this.#onEnded = resolve))
  }

  /**
   * Ends an object and lets the queue publish it. Waits until the object is sealed, so that objects become durable
   * in the order of their records, and a failure of OSS can no longer affect it.
   */
  async #enqueueObject(writer: ObjectWriter<unknown>, queue: PublishQueue): Promise<void> {
    const ended = writer.end()
    ended.catch(() => {}) // a failure after the seal is the queue's
    const output = this.#committables.get(writer)
    if (output === undefined) return writer.drained // which rejects: it was not created
    await Promise.race([ended, writer.drained.then(() => output.commit())])
    this.#committables.delete(writer)
    this.#uncommitted.delete(writer)
    const { key, records, firstRecordId, lastRecordId } = writer
    const counts = { key, records, firstRecordId, lastRecordId } // the writer itself would hold memory
    const isDeadLetter = writer === this.#deadLetter?.writer
    queue.add(output, result => {
      if (!isDeadLetter) {
        this.#published.records += records
        this.#published.size += result.size
      }
      this.#listener.onObject(manifestObject(counts, result), result)
    })
    const { maxSpoolBytes = Infinity } = { ...this.#spool.defaults, ...this.#settings.upload }
    await queue.untilAtMost(maxSpoolBytes)
  }

  #committable(key: string, upload: UploadOptions): CommittableOutput {
    const { signal } = this.#abortController
    // `once` and `replay` may be defaults of the spool.
    const whole = { once: false, replay: 'restart' } as const
    const options = { ...this.#uploadDefaults, ...upload, ...whole, overwrite: false, signal }
    return new CommittableOutput(this.#spool.createWriteStream(key, options))
  }

  #repeatable(key: string, upload: UploadOptions & { readonly id: string }): RepeatableOutput {
    const { signal } = this.#abortController
    // `replay` may be a default of the spool, but the records always begin with the first one.
    const whole = { once: true, replay: 'restart', signal } as const
    const options = { ...this.#uploadDefaults, overwrite: false, ...upload, ...whole }
    // All open objects take records alternately: none may wait for another one to end.
    return new RepeatableOutput((source, compare) =>
      this.#spool.uploadNow(key, source, options, compare),
    )
  }

  /** Keeps track of an object until OSS has stored it, or it has failed. */
  #track(object: UnfinishedObject): void {
    this.#unfinished.add(object)
    const remove = (): void => void this.#unfinished.delete(object)
    void object.done.then(remove, remove)
  }

  async #writeManifest(manifest: Manifest): Promise<void> {
    const { job, manifestKey } = this.#settings
    const json = Buffer.from(`${JSON.stringify(manifest, null, 2)}\n`)
    const options = { id: manifestUploadId(job), mime: 'application/json' }
    await this.#publish(manifestKey, json, options)
  }

  async #writeSuccessMarker(): Promise<void> {
    const { job, successMarkerKey } = this.#settings
    if (successMarkerKey === undefined) return
    this.#throwIfAborted()
    // Without {job}, an earlier job of the same folder has left one.
    const options = { id: successMarkerUploadId(job), mime: MARKER_MIME, overwrite: true }
    await this.#publish(successMarkerKey, Buffer.alloc(0), options)
  }

  /** Publishes an object that is not one of records. */
  async #publish(
    key: string,
    content: Buffer,
    options: UploadOptions & { readonly id: string },
  ): Promise<void> {
    const { headers: _headers, callback: _callback, ...rest } = this.#settings.upload
    const output = this.#repeatable(key, { ...rest, ...options })
    this.#track(output)
    if (content.length > 0) void output.write(content) // nothing follows that could wait
    output.end()
    await output.done
  }

  #reportObject(writer: ObjectWriter<unknown>, result: UploadResult): ManifestObject {
    this.#committables.delete(writer)
    this.#uncommitted.delete(writer)
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
