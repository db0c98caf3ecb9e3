/**
 * Finishes an upload whose source is not needed any more, in any process and however long after the seal.
 * Damage that it finds sends the upload to the quarantine, never into an object.
 */
import type { Finishable, Slot, UploadRecord } from '../../disk/checkpoint.js'
import { TempFileDamagedError } from '../../disk/temp-file.js'
import { errorCode } from '../../util/error-code.js'
import type { UploadContext } from '../run/context.js'
import { errorContext, toSpoolError } from '../run/error-mapping.js'
import { finish, type FinishResult } from './finish.js'
import { hasFreedParts } from '../model/freed-parts.js'
import {
  addSuperseded,
  initiationDigest,
  partCount,
  reopen,
  timestamp,
  withLostInitiates,
  withUploadId,
} from '../model/phase.js'
import { RecordWriter } from '../run/record-writer.js'
import { UploadRun } from './upload-run.js'

/**
 * Finishes the upload in `slot` and ends the claim, also on failure.
 * @param options – `force` publishes over someone else's object
 */
export async function finishSlot(
  context: UploadContext,
  slot: Slot,
  options: { force: boolean },
): Promise<FinishResult> {
  context.diagnostics.started({ resumed: true, spooled: context.checkpoint[slot]?.spooled ?? 0 })
  try {
    return await finishSealed(context, slot, options)
  } catch (error) {
    context.diagnostics.failed(error)
    throw error
  }
}

async function finishSealed(
  context: UploadContext,
  slot: Slot,
  { force }: { force: boolean },
): Promise<FinishResult> {
  const { claim, progress } = context
  const writer = new RecordWriter(claim, slot, () => progress.acknowledged)
  const run = new UploadRun(context, writer)
  const { freed } = writer.record
  try {
    context.startRetryTime()
    const taken = withLostInitiates(writer.checkpoint)
    if (taken !== writer.checkpoint) await writer.save(taken)
    const { sealed } = run
    if (force && (await hasFile(run))) await forceOverwrite(writer, sealed)
    progress.update({
      phase: sealed.phase,
      spooled: sealed.spooled,
      size: sealed.size,
      parts: { done: 0, total: partCount(sealed) },
    })
    return await finish(run)
  } catch (error) {
    await run.close() // nothing may be saved once the claim has ended
    writer.close()
    if (error instanceof TempFileDamagedError) throw await claim.quarantine(error)
    const { checkpoint } = writer
    const record = checkpoint[slot] // a lost predecessor is not there any more
    const cause: unknown = claim.lockLost?.aborted === true ? claim.lockLost.reason : error
    const errorState = { ...errorContext(checkpoint, record), sealed: true, freed }
    const reported = toSpoolError(cause, errorState)
    if (record !== undefined) await saveError(writer, record, reported)
    await claim.release()
    throw reported
  } finally {
    writer.close()
    progress.end()
    await run.close()
  }
}

/** Whether the bytes are here. Without them nothing can be forced: rule 8 alone decides. */
async function hasFile(run: UploadRun): Promise<boolean> {
  try {
    await run.file()
    return true
  } catch (error) {
    if (error instanceof TempFileDamagedError) return false
    throw error
  }
}

/** `--force`: no longer protects the object that exists; that changes what initiation sends (rule 4). */
async function forceOverwrite(writer: RecordWriter, record: Finishable): Promise<void> {
  const { overwrite, ...object } = record.object
  const { error: _overruled, ...reopened } = reopen(record)
  if (overwrite !== false) return writer.write(reopened)
  const forced = { ...reopened, object, digest: initiationDigest(object) }
  // Parts that only OSS has cannot be sent under another upload id: only Complete differs then.
  if (hasFreedParts(record)) return writer.write(forced)
  await writer.save({
    ...writer.with(withUploadId(forced, undefined)),
    superseded: addSuperseded(writer.checkpoint, record.uploadId),
  })
}

/** Saves the error for `ls`. A failure to save it must not hide the error itself. */
async function saveError(
  writer: RecordWriter,
  record: UploadRecord,
  error: unknown,
): Promise<void> {
  if (!(error instanceof Error)) return
  const code = errorCode(error) ?? error.name
  await writer
    .write({ ...record, error: { code, message: error.message, at: timestamp() } })
    .catch((cause: unknown) => {
      error.cause ??= cause
    })
}
