/** Destinations of the bytes of one object: an upload that a rerun repeats, or a sink that can be committed. */
import { Readable } from 'node:stream'
import { Crc64 } from '../crc64.js'
import { SpoolError } from '../errors.js'
import type { SpoolWriteStream, UploadResult } from '../index.js'
import type { EarlierUpload } from '../retryable-upload.js'
import { differentRecordsHint } from './earlier-runs.js'

/** Bytes buffered in memory until the spool reads them. */
const BODY_HIGH_WATER_MARK_BYTES = 256 * 1024

/** Destination of the bytes of one object. */
export interface ObjectOutput {
  /** Resolves when OSS has stored the object. */
  readonly done: Promise<UploadResult>
  /** Returns a promise if the caller must wait before it writes the next chunk. */
  write(chunk: Buffer): Promise<void> | undefined
  end(): void
  destroy(): void
}

/**
 * Uploads an object. Resolves when OSS has stored it. Calls `source` if an earlier run has neither sealed nor
 * published it, otherwise `compare`, before anything is sent; its rejection ends the upload.
 */
export type Uploader = (
  source: () => Readable,
  compare: (earlier: EarlierUpload) => Promise<void>,
) => Promise<UploadResult>

/**
 * An upload that every run of the job repeats. If an earlier run has sealed or published the object, the bytes
 * are not sent again: they are only compared with it by size and CRC64, so that a job never reports records as
 * written that are not in the object. A sealed object is published only after that.
 */
export class RepeatableOutput implements ObjectOutput {
  readonly done: Promise<UploadResult>
  readonly #body: Readable
  #resumePush: () => void = () => {}

  constructor(upload: Uploader) {
    this.#body = new Readable({
      highWaterMark: BODY_HIGH_WATER_MARK_BYTES,
      read: () => this.#resumePush(),
      destroy: (error, callback) => {
        this.#resumePush()
        callback(error)
      },
    })
    this.#body.on('error', () => {}) // the caller that destroys the body handles its error
    this.done = upload(
      () => this.#body,
      earlier => this.#compare(earlier),
    )
  }

  write(chunk: Buffer): Promise<void> | undefined {
    if (this.#body.destroyed || this.#body.push(chunk)) return undefined
    return new Promise(resolve => (this.#resumePush = resolve))
  }

  end(): void {
    this.#body.push(null)
  }

  /** Discards the bytes. The upload itself is aborted by its own signal. */
  destroy(): void {
    this.#body.destroy()
  }

  async #compare({ id, bucket, key, size, crc64, isPublished }: EarlierUpload): Promise<void> {
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
      { id, hint: differentRecordsHint(isPublished ? undefined : id) },
    )
  }
}

/** A sink whose bytes become durable before its end. */
export class CommittableOutput implements ObjectOutput {
  readonly done: Promise<UploadResult>
  readonly #sink: SpoolWriteStream
  #bytes = 0
  /** Bytes that `#lastCommit` covers. */
  #committedBytes = 0
  #lastCommit: Promise<void> = Promise.resolve()
  #resumeWrite: () => void = () => {}

  constructor(sink: SpoolWriteStream) {
    this.#sink = sink
    this.done = sink.result
    sink.on('error', () => {}) // `done` rejects with it
    sink.on('drain', () => this.#resumeWrite())
    sink.on('close', () => this.#resumeWrite())
  }

  write(chunk: Buffer): Promise<void> | undefined {
    this.#bytes += chunk.length
    // Also to a destroyed sink, which then knows that a commit cannot cover these bytes.
    if (this.#sink.write(chunk) || this.#sink.destroyed) return undefined
    return new Promise(resolve => (this.#resumeWrite = resolve))
  }

  /** Id of the upload. */
  get id(): string {
    return this.#sink.id
  }

  /** Bytes written so far. */
  get size(): number {
    return this.#bytes
  }

  /** Resolves when all bytes written so far are durable. Bytes that are known to be durable cost no sync. */
  commit(): Promise<void> {
    if (this.#bytes > this.#committedBytes) {
      this.#committedBytes = this.#bytes
      this.#lastCommit = this.#sink.commit()
    }
    return this.#lastCommit
  }

  end(): void {
    this.#sink.end()
  }

  /** Discards the bytes after the last commit. */
  destroy(): void {
    this.#sink.destroy()
  }
}
