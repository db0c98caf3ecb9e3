/** Writes the records of one object: formats them, batches them, and passes them through the transforms. */
import type { UploadResult } from '../index.js'
import { RecordBatch } from './batch.js'
import type { RecordId } from './manifest.js'
import type { ObjectEncoder } from './object-format.js'
import type { ObjectOutput } from './object-output.js'
import type { TransformChain } from './transform-chain.js'

/** Calls for each record of one object. */
export interface RecordCallbacks<T> {
  readonly encoder: ObjectEncoder<T>
  readonly recordId: (record: T, index: number) => RecordId
}

export class ObjectWriter<T> {
  readonly key: string
  /** Resolves when OSS has stored the object. A rejection is never unhandled. */
  readonly done: Promise<UploadResult>
  records = 0
  /**
   * Size in bytes, without records that the encoder still holds. Exact without transforms; with transforms, the
   * output up to the last batch but one, so that it depends on the records alone.
   */
  size = 0
  /** Ids for the manifest; `lastRecordId` is set by `end()`. */
  firstRecordId: RecordId = 0
  lastRecordId: RecordId = 0
  /** The latest record and its number in the job. */
  latestRecord: [record: T, index: number] | undefined
  /** After `end()`: resolves when all bytes are in the output. A rejection is never unhandled. */
  drained: Promise<void> = Promise.resolve()

  readonly #callbacks: RecordCallbacks<T>
  readonly #transforms: TransformChain
  readonly #output: ObjectOutput
  readonly #batch = new RecordBatch()
  /** Output of the transforms so far; depends on timing. */
  #transformedBytes = 0
  /** Settles when the transforms have processed the current batch. */
  #transforming: Promise<void> = Promise.resolve()
  /** Records at the latest `endMember()`. */
  #recordsInMembers = 0

  constructor(
    key: string,
    callbacks: RecordCallbacks<T>,
    transforms: TransformChain,
    output: ObjectOutput,
  ) {
    this.key = key
    this.#callbacks = callbacks
    this.#transforms = transforms
    this.#output = output
    this.done = output.done
    this.done.catch(() => {})
  }

  /**
   * Writes a record. A full batch enters the transforms once the previous batch is processed.
   * @returns a promise if the caller must wait before it writes the next record
   */
  write(record: T, index: number): Promise<void> | undefined {
    const chunk = this.#callbacks.encoder.add(record)
    if (this.records++ === 0) this.firstRecordId = this.#callbacks.recordId(record, index)
    this.latestRecord = [record, index]
    if (chunk !== undefined) this.#addToBatch(chunk)
    return this.#batch.isFull ? this.#flushBatch() : undefined
  }

  /**
   * Ends the gzip member or zstd frame, if records were written to it, so that the output so far is an object
   * of its own. Call it between two writes.
   */
  async endMember(): Promise<void> {
    if (this.#recordsInMembers === this.records) return
    this.#recordsInMembers = this.records
    await this.#flushAll()
  }

  /** Ends the object. Settles like `done`. */
  async end(): Promise<UploadResult> {
    if (this.latestRecord !== undefined)
      this.lastRecordId = this.#callbacks.recordId(...this.latestRecord)
    const rest = this.#callbacks.encoder.end()
    if (rest !== undefined) this.#addToBatch(rest)
    this.drained = this.#flushAll().then(() => this.#output.end())
    this.drained.catch(() => {}) // reported by this method
    await this.drained
    return this.done
  }

  /** Discards the object, except what was committed. */
  destroy(): void {
    this.#output.destroy()
    this.#transforms.destroy()
  }

  #addToBatch(chunk: string | Uint8Array): void {
    this.#batch.add(chunk)
    if (this.#transforms.isEmpty) this.size += Buffer.byteLength(chunk)
  }

  /** Passes on all records so far, and ends the transforms. */
  async #flushAll(): Promise<void> {
    await this.#flushBatch()
    await this.#transforming
    await this.#writeChunks(await this.#transforms.end())
  }

  async #flushBatch(): Promise<void> {
    await this.#transforming
    if (!this.#transforms.isEmpty) this.size = this.#transformedBytes
    this.#transforming = this.#transformBatch(this.#batch.take())
    this.#transforming.catch(() => {}) // reported by the next flush, or by `end()`
  }

  async #transformBatch(batch: readonly Buffer[]): Promise<void> {
    await this.#writeChunks(await this.#transforms.write(batch))
  }

  async #writeChunks(chunks: readonly Buffer[]): Promise<void> {
    for (const chunk of chunks) {
      this.#transformedBytes += chunk.length
      const drained = this.#output.write(chunk)
      if (drained !== undefined) await drained
    }
  }
}
