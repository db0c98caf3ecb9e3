/**
 * The spool file and the transfer of one run of an upload, created on demand. Used by the live stream and by
 * the resuming process.
 */
import { Crc64 } from '../../crc64.js'
import { isFinishable, type Finishable } from '../../disk/checkpoint.js'
import { openSpoolFile } from '../../disk/open-spool-file.js'
import type { SpoolFile } from '../../disk/spool-file.js'
import type { UploadContext } from '../run/context.js'
import { sealedParts } from '../model/phase.js'
import type { CutPart } from '../model/plan.js'
import { PartReporter } from '../run/part-reporter.js'
import type { RecordWriter } from '../run/record-writer.js'
import { Transfer, type PartReader, type TransferEvents } from '../transfer/transfer.js'

export class UploadResources {
  readonly context: UploadContext
  readonly writer: RecordWriter
  readonly partReporter: PartReporter
  #file: Promise<SpoolFile> | undefined
  #transfer: Transfer | undefined

  /** @param file – the open file of a live stream; otherwise it is opened on demand */
  constructor(context: UploadContext, writer: RecordWriter, file?: SpoolFile) {
    this.context = context
    this.writer = writer
    this.partReporter = new PartReporter(context)
    if (file !== undefined) this.#file = Promise.resolve(file)
  }

  /** The sealed record. @throws Error if it is not sealed */
  get sealed(): Finishable {
    const { record } = this.writer
    if (isFinishable(record)) return record
    throw new Error(`An upload in phase ${record.phase} cannot be finished`)
  }

  /**
   * Opens the file that the record names.
   * @throws TempFileDamagedError if its size is not the recorded one
   */
  file(): Promise<SpoolFile> {
    return (this.#file ??= this.#openFile())
  }

  /** Starts the transfer of a live stream. */
  startTransfer(file: SpoolFile, events: TransferEvents): Transfer {
    return (this.#transfer = this.#createTransfer(file, { flowing: true }, events))
  }

  /** Returns the transfer, with all parts added. */
  async transfer(): Promise<Transfer> {
    if (this.#transfer !== undefined) return this.#transfer
    const { sealed } = this
    const file = await this.file()
    this.partReporter.restart()
    const transfer = this.#createTransfer(file, { flowing: false })
    for (const part of sealedParts(sealed)) transfer.add(part)
    return (this.#transfer = transfer)
  }

  /** Discards the transfer: the next one lists the parts on OSS, or initiates a new upload. */
  discardTransfer(): void {
    this.#transfer = undefined
  }

  /** Stops the transfer and closes the file, once. */
  async close(): Promise<void> {
    await this.#transfer?.stop()
    const opening = this.#file
    this.#file = undefined // the number of a closed descriptor is soon reused
    const file = await opening?.catch(() => undefined) // its error was reported where the file was used
    await file?.close().catch(() => undefined) // the bytes that matter were synced
  }

  async #openFile(): Promise<SpoolFile> {
    const { record, checkpoint } = this.writer
    const file = await openSpoolFile(this.context.claim.directory, record.file)
    if (file.size === record.spooled) return file
    await file.close()
    throw file.damagedError(
      `The temp file of ${checkpoint.id} has ${file.size} bytes instead of ${record.spooled}`,
    )
  }

  #createTransfer(
    file: SpoolFile,
    options: { flowing: boolean },
    events?: TransferEvents,
  ): Transfer {
    const { context, writer, partReporter } = this
    const reader: PartReader = {
      body: part => file.chunks(part.start, part.size),
      verify: part => verifyPart(file, part),
    }
    return new Transfer(context, writer, reader, options, {
      onDone: (part, done, response) => {
        partReporter.partDone(part.size, done, response, writer.record, file.path)
        events?.onDone(part, done, response)
        writer.scheduleSave()
      },
      onRestart: () => {
        partReporter.restart()
        events?.onRestart()
      },
      onFailure: (error, part) => events?.onFailure(error, part),
    })
  }
}

async function verifyPart(file: SpoolFile, part: CutPart): Promise<void> {
  const crc = new Crc64()
  for await (const chunk of file.chunks(part.start, part.size)) crc.update(chunk)
  if (crc.digest() === part.crc64) return
  throw file.damagedError(`Part ${part.number} of the temp file does not match its checkpoint`)
}
