/**
 * Writes the records of one object: formats them, batches them, and passes them through the transforms. Nothing
 * but a batch exists until that is full: most of the objects that are open concurrently are small, and a
 * compressor or an upload each would cost more than their records.
 */
import type { Duplex } from 'node:stream'
import type { UploadResult } from '../index.js'
import { RecordBatch } from './batch.js'
import type { RecordId } from './manifest.js'
import type { ObjectEncoder } from './object-format.js'
import type { ObjectOutput } from './object-output.js'
import { TransformChain } from './transform-chain.js'

/** A record that the encoder of its object has accepted. */
export interface EncodedRecord<T> {
  /** The record, if the next one of its object is compared with it. It may be a small slice of a large chunk. */
  readonly record: T | undefined
  readonly id: RecordId
  /** Result of the encoder: bytes to append, or `undefined` if it holds the record for now. */
  readonly bytes: string | Uint8Array | undefined
}

/** Creates what the bytes of an object pass through. Called at most once, unless a transform is to end early. */
export interface ObjectPipelineFactory {
  /** `undefined` if the bytes are stored as they are. */
  readonly createTransforms: (() => readonly Duplex[]) | undefined
  readonly createOutput: () => ObjectOutput
}

interface ObjectPipeline {
  readonly transforms: TransformChain
  readonly output: ObjectOutput
}

export class ObjectWriter<T> {
  readonly key: string
  /** Encodes records before they are written. */
  readonly encoder: ObjectEncoder<T>
  /** Resolves when OSS has stored the object. A rejection is never unhandled. */
  readonly done: Promise<UploadResult>
  records = 0
  /**
   * Size in bytes, without records that the encoder still holds. Exact without transforms; with transforms, the
   * output up to the last batch but one, so that it depends on the records alone.
   */
  size = 0
  /** Ids for the manifest. */
  firstRecordId: RecordId = 0
  lastRecordId: RecordId = 0
  latestRecord: T | undefined
  /** After `end()`: resolves when all bytes are in the output. A rejection is never unhandled. */
  drained: Promise<void> = Promise.resolve()

  readonly #factory: ObjectPipelineFactory
  #pipeline: ObjectPipeline | undefined
  readonly #batch = new RecordBatch()
  /** Output of the transforms so far; depends on timing. */
  #transformedBytes = 0
  /** Settles when the transforms have processed the current batch. */
  #transforming: Promise<void> = Promise.resolve()
  /** Records at the latest `endMember()`. */
  #recordsInMembers = 0
  #isEnded = false
  #isDestroyed = false
  #resolveDone!: (result: Promise<UploadResult>) => void // set in the constructor
  #rejectDone!: (error: unknown) => void // set in the constructor

  constructor(key: string, encoder: ObjectEncoder<T>, factory: ObjectPipelineFactory) {
    this.key = key
    this.encoder = encoder
    this.#factory = factory
    this.done = new Promise((resolve, reject) => {
      this.#resolveDone = resolve
      this.#rejectDone = reject
    })
    this.done.catch(() => {})
  }

  /**
   * Writes a record. A full batch enters the transforms once the previous batch is processed.
   * @returns a promise if the caller must wait before it writes the next record. The first one means that the
   * object has an output from now on
   */
  write({ record, id, bytes }: EncodedRecord<T>): Promise<void> | undefined {
    if (this.records++ === 0) this.firstRecordId = id
    this.lastRecordId = id
    this.latestRecord = record
    if (bytes !== undefined) this.#addToBatch(bytes)
    return this.#batch.isFull ? this.#flushBatch() : undefined
  }

  /**
   * Ends the gzip member or zstd frame, if records were written to it, so that the output so far is an object
   * of its own. Call it between two writes. Has no effect after `end()`.
   */
  async endMember(): Promise<void> {
    if (this.#isEnded || this.#recordsInMembers === this.records) return
    this.#recordsInMembers = this.records
    await this.#flushAll()
  }

  /** Ends the object. Settles like `done`. */
  async end(): Promise<UploadResult> {
    this.#isEnded = true
    this.drained = this.#drain()
    this.drained.catch(() => {}) // reported by this method
    await this.drained
    return this.done
  }

  /** Discards the object, except what was committed. */
  destroy(): void {
    this.#isDestroyed = true
    this.#rejectDone(new Error(`The object ${this.key} was destroyed`)) // no effect with an output
    this.#pipeline?.output.destroy()
    this.#pipeline?.transforms.destroy()
  }

  async #drain(): Promise<void> {
    const rest = this.encoder.end()
    if (rest !== undefined) this.#addToBatch(rest)
    await this.#flushAll()
    this.#open().output.end()
  }

  #addToBatch(chunk: string | Uint8Array): void {
    const bytes = this.#batch.add(chunk)
    if (this.#factory.createTransforms === undefined) this.size += bytes
  }

  /** Returns the transforms and the output, and creates them on the first call. */
  #open(): ObjectPipeline {
    if (this.#pipeline !== undefined) return this.#pipeline
    if (this.#isDestroyed) throw new Error(`The object ${this.key} was destroyed`)
    const { createTransforms = () => [], createOutput } = this.#factory
    // Before the output, because creating the transforms may fail.
    const transforms = new TransformChain(createTransforms)
    this.#pipeline = { transforms, output: createOutput() }
    this.#resolveDone(this.#pipeline.output.done)
    return this.#pipeline
  }

  /** Passes on all records so far, and ends the transforms. */
  async #flushAll(): Promise<void> {
    const { transforms } = this.#open()
    await this.#flushBatch()
    await this.#transforming
    await this.#writeChunks(await transforms.end())
  }

  async #flushBatch(): Promise<void> {
    const { transforms } = this.#open()
    await this.#transforming
    if (this.#factory.createTransforms !== undefined) this.size = this.#transformedBytes
    this.#transforming = this.#transformBatch(transforms, this.#batch.take())
    this.#transforming.catch(() => {}) // reported by the next flush, or by `end()`
  }

  async #transformBatch(transforms: TransformChain, batch: readonly Buffer[]): Promise<void> {
    await this.#writeChunks(await transforms.write(batch))
  }

  async #writeChunks(chunks: readonly Buffer[]): Promise<void> {
    const { output } = this.#open()
    for (const chunk of chunks) {
      this.#transformedBytes += chunk.length
      const drained = output.write(chunk)
      if (drained !== undefined) await drained
    }
  }
}
