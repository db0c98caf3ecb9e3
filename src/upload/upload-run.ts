/**
 * The work on one upload's bytes: its temp file and the transfer of its parts, made when they are
 * needed and thrown away when they are of no more use. The live stream and the resuming process
 * share it.
 */
import { Crc64 } from '../crc64.js'
import { TempFile } from '../disk/temp-file.js'
import type { UploadContext } from './context.js'
import { cutParts, type FinishRun } from './finish.js'
import type { ProgressFields, RecordWriter } from './record-writer.js'
import { PartReporter } from './progress-callback.js'
import type { CutPart } from './spooler.js'
import { Transfer, type PartReader, type TransferEvents } from './transfer.js'

export class UploadRun implements FinishRun {
  readonly context: UploadContext
  readonly writer: RecordWriter
  readonly partReporter: PartReporter
  #file: Promise<TempFile> | undefined
  #transfer: Transfer | undefined

  constructor(context: UploadContext, writer: RecordWriter, file?: TempFile) {
    this.context = context
    this.writer = writer
    this.partReporter = new PartReporter(context)
    if (file !== undefined) this.#file = Promise.resolve(file)
    writer.progressFields = () => acknowledgedTotals(context)
  }

  /** The temp file as the checkpoint knows it. @throws TempFileDamagedError when its size is another */
  file(): Promise<TempFile> {
    return (this.#file ??= this.#openFile())
  }

  /** The live transfer, while the source flows. */
  startTransfer(file: TempFile, watcher: TransferEvents): Transfer {
    return (this.#transfer = this.#makeTransfer(file, true, watcher))
  }

  async transfer(): Promise<Transfer> {
    if (this.#transfer !== undefined) return this.#transfer
    const { record } = this.writer
    if (record.phase !== 'sealed' && record.phase !== 'completing') {
      throw new Error(`An upload in phase ${record.phase} has no parts to send yet`)
    }
    const file = await this.file()
    this.partReporter.restart()
    const transfer = this.#makeTransfer(file, false)
    for (const part of cutParts(record)) transfer.add(part)
    return (this.#transfer = transfer)
  }

  discardTransfer(): void {
    this.#transfer = undefined
  }

  /** Ends what is in flight, as far as it has not ended by itself, and closes the file; once. */
  async close(): Promise<void> {
    await this.#transfer?.stop()
    const opening = this.#file
    this.#file = undefined // a descriptor's number is soon another file's
    const file = await opening?.catch(() => undefined) // its error was thrown where it was used
    await file?.close()
  }

  async #openFile(): Promise<TempFile> {
    const { record, checkpoint } = this.writer
    const file = await TempFile.open(this.context.claim.directory, record.file)
    if (file.size === record.spooled) return file
    await file.close()
    throw file.damagedError(
      `The temp file of ${checkpoint.id} has ${file.size} bytes instead of ${record.spooled}`,
    )
  }

  #makeTransfer(file: TempFile, flowing: boolean, watcher?: TransferEvents): Transfer {
    const { context, writer, partReporter } = this
    const source: PartReader = {
      body: part => file.chunks(part.start, part.size),
      verify: part => this.#verify(file, part),
    }
    return new Transfer(context, writer, source, flowing, {
      onDone: (part, done, reply) => {
        partReporter.partDone(part.size, done, reply, writer.record, file.path)
        watcher?.onDone(part, done, reply)
        writer.scheduleSave()
      },
      onRestart: () => {
        partReporter.restart()
        watcher?.onRestart()
      },
      onFailure: (error, part) => watcher?.onFailure(error, part),
    })
  }

  async #verify(file: TempFile, part: CutPart): Promise<void> {
    const crc = new Crc64()
    for await (const chunk of file.chunks(part.start, part.size)) crc.update(chunk)
    if (crc.digest() === part.crc64) return
    throw file.damagedError(`Part ${part.number} in the temp file is not what its checkpoint says`)
  }
}

/** Acknowledged bytes and parts, as a record has them. */
export function acknowledgedTotals({
  progress,
}: UploadContext): Pick<ProgressFields, 'uploaded' | 'acknowledged'> {
  const { uploaded, parts } = progress.state
  return { uploaded, acknowledged: parts.done }
}
