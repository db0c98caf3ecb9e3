/**
 * One object on its way: takes records, and is done when OSS holds it. An object that an earlier run
 * has sealed or published is not sent again: then the records are only compared with it, byte by
 * byte (size and CRC64), so that a job never pretends to have written what it has not.
 */
import { Readable } from 'node:stream'
import { Crc64 } from '../crc64.js'
import { SpoolError } from '../errors.js'
import type { UploadResult } from '../index.js'
import { RecordBatch } from './batch.js'
import type { Format } from './format.js'
import type { RecordId } from './manifest.js'
import type { TransformChain } from './transform-chain.js'

/** Bytes that wait in memory for the spool. */
const BODY_HIGH_WATER_MARK_BYTES = 256 * 1024

/** Calls the function, if its bytes are needed, and resolves when OSS holds the object. */
export type Uploader = (source: () => Readable) => Promise<UploadResult>

/** What is made of records. */
export interface RecordCallbacks<T> {
  readonly format: Format<T>
  readonly recordId: (record: T, index: number) => RecordId
}

export class ObjectWriter<T> {
  readonly key: string
  /** When OSS holds the object. Never unhandled. */
  readonly done: Promise<UploadResult>
  records = 0
  /**
   * Bytes: exact without transforms; with them, what came out up to the last batch but one, so that it
   * depends on the records alone.
   */
  size = 0
  /** What the manifest says of its first record, and of the last one once it has ended. */
  firstRecordId: RecordId = 0
  lastRecordId: RecordId = 0
  /** The last record so far, and its number in the job. */
  latestRecord: [record: T, index: number] | undefined

  readonly #callbacks: RecordCallbacks<T>
  readonly #transforms: TransformChain
  readonly #batch = new RecordBatch()
  readonly #body: Readable
  /** Bytes that came out of the transforms so far: a matter of timing. */
  #transformedBytes = 0
  /** The batch that is on its way through the transforms. */
  #transforming: Promise<void> = Promise.resolve()
  #resumePush: () => void = () => {}

  constructor(
    key: string,
    callbacks: RecordCallbacks<T>,
    transforms: TransformChain,
    upload: Uploader,
  ) {
    this.key = key
    this.#callbacks = callbacks
    this.#transforms = transforms
    this.#body = new Readable({
      highWaterMark: BODY_HIGH_WATER_MARK_BYTES,
      read: () => this.#resumePush(),
      destroy: (error, callback) => {
        this.#resumePush()
        callback(error)
      },
    })
    this.#body.on('error', () => {}) // whoever destroys it knows
    this.done = this.#upload(upload)
    this.done.catch(() => {})
  }

  /**
   * Takes a record. A full batch goes into the transforms when the one before it is through: then
   * there is a promise, and the next record must wait for it.
   */
  write(record: T, index: number): Promise<void> | undefined {
    const chunk = this.#callbacks.format(record, this.records === 0)
    if (this.records++ === 0) this.firstRecordId = this.#callbacks.recordId(record, index)
    this.latestRecord = [record, index]
    this.#batch.add(chunk)
    if (this.#transforms.isEmpty) this.size += Buffer.byteLength(chunk)
    return this.#batch.isFull ? this.#flushBatch() : undefined
  }

  /** No more records. Resolves like `done`. */
  async end(): Promise<UploadResult> {
    if (this.latestRecord !== undefined)
      this.lastRecordId = this.#callbacks.recordId(...this.latestRecord)
    await this.#flushBatch()
    await this.#transforming
    await this.#pushChunks(await this.#transforms.end())
    this.#body.push(null)
    return this.done
  }

  /** It is not wanted any more: whoever uploads it is told by its own signal. */
  destroy(): void {
    this.#body.destroy()
    this.#transforms.destroy()
  }

  async #flushBatch(): Promise<void> {
    await this.#transforming
    if (!this.#transforms.isEmpty) this.size = this.#transformedBytes
    this.#transforming = this.#transformBatch(this.#batch.take())
    this.#transforming.catch(() => {}) // the next turn tells
  }

  async #transformBatch(batch: readonly Buffer[]): Promise<void> {
    await this.#pushChunks(await this.#transforms.write(batch))
  }

  async #pushChunks(chunks: readonly Buffer[]): Promise<void> {
    for (const chunk of chunks) {
      this.#transformedBytes += chunk.length
      if (this.#body.destroyed) return
      if (!this.#body.push(chunk)) await new Promise<void>(resolve => (this.#resumePush = resolve))
    }
  }

  async #upload(upload: Uploader): Promise<UploadResult> {
    let isNeeded = false
    const result = await upload(() => {
      isNeeded = true
      return this.#body
    })
    if (!isNeeded) await this.#compareWithEarlierRun(result)
    return result
  }

  async #compareWithEarlierRun({ id, bucket, key, size, crc64 }: UploadResult): Promise<void> {
    const actualCrc64 = new Crc64()
    let actualSize = 0
    for await (const chunk of this.#body as AsyncIterable<Buffer>) {
      actualCrc64.update(chunk)
      actualSize += chunk.length
    }
    if (actualSize === size && String(actualCrc64.digest()) === crc64) return
    throw new SpoolError(
      'ERR_SPOOL_EXPECTATION',
      `oss://${bucket}/${key} was written by an earlier run of this job, with other records: it has ${size} bytes and CRC64 ${crc64}, now they make ${actualSize} and ${actualCrc64.digest()}; it stays as it is`,
      {
        id,
        hint: 'The same job must get the same records in the same order: give other ones another job name.',
      },
    )
  }
}
