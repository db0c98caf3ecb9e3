/**
 * Writes the records of one object. If an earlier run has sealed or published the object, its bytes are not
 * sent again: the records are only compared with it by size and CRC64, so that a job never reports records as
 * written that are not in the object.
 */
import { Readable } from 'node:stream'
import { Crc64 } from '../crc64.js'
import { SpoolError } from '../errors.js'
import type { UploadResult } from '../index.js'
import { RecordBatch } from './batch.js'
import type { Format } from './format.js'
import type { RecordId } from './manifest.js'
import type { TransformChain } from './transform-chain.js'

/** Bytes buffered in memory until the spool reads them. */
const BODY_HIGH_WATER_MARK_BYTES = 256 * 1024

/** Uploads an object. Calls `source` only if its bytes are needed; resolves when OSS has stored the object. */
export type Uploader = (source: () => Readable) => Promise<UploadResult>

/** Functions applied to each record. */
export interface RecordCallbacks<T> {
  readonly format: Format<T>
  readonly recordId: (record: T, index: number) => RecordId
}

export class ObjectWriter<T> {
  readonly key: string
  /** Resolves when OSS has stored the object. A rejection is never unhandled. */
  readonly done: Promise<UploadResult>
  records = 0
  /**
   * Size in bytes. Exact without transforms; with transforms, the output up to the last batch but one, so that
   * it depends on the records alone.
   */
  size = 0
  /** Ids for the manifest; `lastRecordId` is set by `end()`. */
  firstRecordId: RecordId = 0
  lastRecordId: RecordId = 0
  /** The latest record and its number in the job. */
  latestRecord: [record: T, index: number] | undefined

  readonly #callbacks: RecordCallbacks<T>
  readonly #transforms: TransformChain
  readonly #batch = new RecordBatch()
  readonly #body: Readable
  /** Output of the transforms so far; depends on timing. */
  #transformedBytes = 0
  /** Settles when the transforms have processed the current batch. */
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
    this.#body.on('error', () => {}) // the caller that destroys the body handles its error
    this.done = this.#upload(upload)
    this.done.catch(() => {})
  }

  /**
   * Writes a record. A full batch enters the transforms once the previous batch is processed.
   * @returns a promise if the caller must wait before it writes the next record
   */
  write(record: T, index: number): Promise<void> | undefined {
    const chunk = this.#callbacks.format(record, this.records === 0)
    if (this.records++ === 0) this.firstRecordId = this.#callbacks.recordId(record, index)
    this.latestRecord = [record, index]
    this.#batch.add(chunk)
    if (this.#transforms.isEmpty) this.size += Buffer.byteLength(chunk)
    return this.#batch.isFull ? this.#flushBatch() : undefined
  }

  /** Ends the object. Settles like `done`. */
  async end(): Promise<UploadResult> {
    if (this.latestRecord !== undefined)
      this.lastRecordId = this.#callbacks.recordId(...this.latestRecord)
    await this.#flushBatch()
    await this.#transforming
    await this.#pushChunks(await this.#transforms.end())
    this.#body.push(null)
    return this.done
  }

  /** Discards the object. The upload itself is aborted by its own signal. */
  destroy(): void {
    this.#body.destroy()
    this.#transforms.destroy()
  }

  async #flushBatch(): Promise<void> {
    await this.#transforming
    if (!this.#transforms.isEmpty) this.size = this.#transformedBytes
    this.#transforming = this.#transformBatch(this.#batch.take())
    this.#transforming.catch(() => {}) // reported by the next flush, or by `end()`
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
      `oss://${bucket}/${key} was written with different records by an earlier run of this job: it has ${size} bytes and CRC64 ${crc64}, this run has ${actualSize} bytes and CRC64 ${actualCrc64.digest()}. The object was not changed`,
      {
        id,
        hint: 'Rerun a job with the same records in the same order, or use a new job name for different records.',
      },
    )
  }
}
