/**
 * Reports finished parts to the `progress` option, called as by `ali-oss`, and to the `progress` event. An exception
 * from the callback becomes a warning; it never fails the upload.
 */
import type { UploadRecord } from '../../disk/checkpoint.js'
import type { HttpResponse } from '../../oss/bucket.js'
import type { UploadContext } from './context.js'
import type { AliOssCheckpoint } from '../model/options.js'
import { uniformPartSize, type DonePart } from '../model/plan.js'
import { errorMessage } from '../../util/error-shape.js'

export class PartReporter {
  readonly #context: UploadContext
  /** Done parts in the order in which they finished, as `ali-oss` lists them. */
  #done: DonePart[] = []

  constructor(context: UploadContext) {
    this.#context = context
  }

  /** Forgets the done parts of an earlier transfer; the one that begins reports them again. */
  restart(): void {
    this.#done = []
    this.#context.progress.restart()
  }

  partDone(
    size: number,
    done: DonePart,
    reply: HttpResponse | undefined,
    record: UploadRecord,
    path: string,
  ): void {
    this.#done.push(done)
    if (reply === undefined) this.#context.diagnostics.partFound(done.number, size)
    this.#context.progress.acknowledge(size)
    this.#callWithCheckpoint(record, path, reply)
  }

  /** Reports the seal: from now on there is a checkpoint with which `ali-oss` can finish the upload. */
  sealed(record: UploadRecord, path: string): void {
    if (this.#done.length > 0) this.#callWithCheckpoint(record, path, undefined)
  }

  published(reply?: HttpResponse): void {
    this.#callback(1, null, reply)
  }

  #callWithCheckpoint(record: UploadRecord, path: string, reply: HttpResponse | undefined): void {
    if (this.#context.settings.progress === undefined) return
    const { uploaded, size } = this.#context.progress.state
    const fraction = size === undefined || size === 0 ? 0 : Math.min(1, uploaded / size)
    this.#callback(fraction, this.#checkpoint(record, path), reply)
  }

  #checkpoint(record: UploadRecord, file: string): AliOssCheckpoint | null {
    if (record.phase !== 'sealed' || record.uploadId === undefined) return null
    const partSize = uniformPartSize(record.plan, record.size)
    if (partSize === undefined) return null
    const { size: fileSize, uploadId } = record
    return { file, name: this.#context.key, fileSize, partSize, uploadId, doneParts: this.#done }
  }

  #callback(
    fraction: number,
    checkpoint: AliOssCheckpoint | null,
    reply: HttpResponse | undefined,
  ): void {
    const warn = (cause: unknown): void =>
      this.#context.warn(`The progress function failed: ${errorMessage(cause)}`, { cause })
    try {
      Promise.resolve(this.#context.settings.progress?.(fraction, checkpoint, reply)).catch(warn)
    } catch (error) {
      warn(error)
    }
  }
}
