/**
 * One object on its way: takes records, and is done when OSS holds it. An object that an earlier run
 * has sealed or published is not sent again: then the records are only compared with it, byte by
 * byte (size and CRC64), so that a job never pretends to have written what it has not.
 */
import { Readable } from 'node:stream'
import { Crc64 } from '../crc64.js'
import { SpoolError } from '../errors.js'
import type { UploadResult } from '../index.js'
import { Batch } from './batch.js'
import type { Format } from './format.js'
import type { Mark } from './manifest.js'
import type { Stages } from './stages.js'

/** Bytes that wait in memory for the spool. */
const HIGH_WATER_MARK = 256 * 1024

/** Calls the function, if its bytes are needed, and resolves when OSS holds the object. */
export type Uploader = (source: () => Readable) => Promise<UploadResult>

/** What is made of records. */
export interface RecordText<T> {
  readonly format: Format<T>
  readonly mark: (record: T, index: number) => Mark
}

export class Outgoing<T> {
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
  first: Mark = 0
  last: Mark = 0
  /** The last record so far, and its number in the job. */
  latest: [record: T, index: number] | undefined

  readonly #text: RecordText<T>
  readonly #stages: Stages
  readonly #batch = new Batch()
  readonly #body: Readable
  /** Bytes that came out of the transforms so far: a matter of timing. */
  #given = 0
  /** The batch that is on its way through the transforms. */
  #pressing: Promise<void> = Promise.resolve()
  #resume: () => void = () => {}

  constructor(key: string, text: RecordText<T>, stages: Stages, upload: Uploader) {
    this.key = key
    this.#text = text
    this.#stages = stages
    this.#body = new Readable({
      highWaterMark: HIGH_WATER_MARK,
      read: () => this.#resume(),
      destroy: (error, callback) => {
        this.#resume()
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
  add(record: T, index: number): Promise<void> | undefined {
    const text = this.#text.format(record, this.records === 0)
    if (this.records++ === 0) this.first = this.#text.mark(record, index)
    this.latest = [record, index]
    this.#batch.add(text)
    if (this.#stages.isEmpty) this.size += Buffer.byteLength(text)
    return this.#batch.isFull ? this.#turn() : undefined
  }

  /** No more records. Resolves like `done`. */
  async end(): Promise<UploadResult> {
    if (this.latest !== undefined) this.last = this.#text.mark(...this.latest)
    await this.#turn()
    await this.#pressing
    await this.#push(await this.#stages.end())
    this.#body.push(null)
    return this.done
  }

  /** It is not wanted any more: whoever uploads it is told by its own signal. */
  destroy(): void {
    this.#body.destroy()
    this.#stages.destroy()
  }

  async #turn(): Promise<void> {
    await this.#pressing
    if (!this.#stages.isEmpty) this.size = this.#given
    this.#pressing = this.#press(this.#batch.take())
    this.#pressing.catch(() => {}) // the next turn tells
  }

  async #press(batch: readonly Buffer[]): Promise<void> {
    await this.#push(await this.#stages.write(batch))
  }

  async #push(chunks: readonly Buffer[]): Promise<void> {
    for (const chunk of chunks) {
      this.#given += chunk.length
      if (this.#body.destroyed) return
      if (!this.#body.push(chunk)) await new Promise<void>(resolve => (this.#resume = resolve))
    }
  }

  async #upload(upload: Uploader): Promise<UploadResult> {
    let isNeeded = false
    const result = await upload(() => {
      isNeeded = true
      return this.#body
    })
    if (!isNeeded) await this.#compare(result)
    return result
  }

  async #compare({ id, bucket, key, size, crc64 }: UploadResult): Promise<void> {
    const found = new Crc64()
    let bytes = 0
    for await (const chunk of this.#body as AsyncIterable<Buffer>) {
      found.update(chunk)
      bytes += chunk.length
    }
    if (bytes === size && String(found.digest()) === crc64) return
    throw new SpoolError(
      'ERR_SPOOL_EXPECTATION',
      `oss://${bucket}/${key} was written by an earlier run of this job, with other records: it has ${size} bytes and CRC64 ${crc64}, now they make ${bytes} and ${found.digest()}; it stays as it is`,
      {
        id,
        hint: 'The same job must get the same records in the same order: give other ones another job name.',
      },
    )
  }
}
