/**
 * Finishes a sealed upload without its source, in any process and at any time after the seal. A damaged
 * upload is quarantined and never published.
 */
import type { Finishable, Slot, UploadRecord } from '../../disk/checkpoint.js'
import { LinkedFileChangedError } from '../../disk/linked-file.js'
import { TempFileDamagedError } from '../../disk/temp-file.js'
import { errorCode } from '../../util/error-code.js'
import type { UploadContext } from '../run/context.js'
import { errorContext, toSpoolError } from '../run/error-mapping.js'
import { finish, type FinishResult } from './finish.js'
import { hasFreedParts } from '../model/freed-parts.js'
import {
  addSuperseded,
  addUnanswered,
  initiationDigest,
  partCount,
  timestamp,
  withLostInitiates,
  withUploadId,
} from '../model/phase.js'
import { RecordWriter } from '../run/record-writer.js'
import { asUnpublished } from '../transfer/publish-outcome.js'
import { sealAtLastCommit } from './seal-at-commit.js'
import { UploadResources } from './upload-resources.js'
import { isError } from '../../util/error-shape.js'

/** Finishes the upload in `slot` and ends the claim, also on failure. */
export async function finishSlot(context: UploadContext, slot: Slot): Promise<FinishResult> {
  const { checkpoint, claim, diagnostics } = context
  const takenOverFrom = claim.bytesLost ? checkpoint.host : undefined
  diagnostics.started({ resumed: true, spooled: checkpoint[slot]?.spooled ?? 0 }, takenOverFrom)
  try {
    return await finishAndRelease(context, slot)
  } catch (error) {
    context.diagnostics.failed(error)
    throw error
  }
}

async function finishAndRelease(context: UploadContext, slot: Slot): Promise<FinishResult> {
  const { claim, progress } = context
  const writer = new RecordWriter(claim, slot, () => progress.acknowledged)
  const resources = new UploadResources(context, writer)
  try {
    context.startRetryTime()
    if (slot === 'upload') await sealAtLastCommit(context)
    const updated = withLostInitiates(writer.checkpoint)
    if (updated !== writer.checkpoint) await writer.save(updated)
    const { sealed } = resources
    if (context.settings.force === true && (await hasFile(resources))) {
      await forceOverwrite(writer, sealed)
    }
    progress.update({
      phase: sealed.phase,
      spooled: sealed.spooled,
      size: sealed.size,
      parts: { done: 0, total: partCount(sealed) },
    })
    return await finish(resources)
  } catch (error) {
    await resources.close() // nothing may be saved after the claim has ended
    writer.close()
    if (error instanceof TempFileDamagedError) throw await claim.quarantine(error)
    const { checkpoint } = writer
    const record = checkpoint[slot] // missing if the predecessor was lost
    const cause: unknown = claim.lockLost?.aborted === true ? claim.lockLost.reason : error
    const reported = toSpoolError(cause, errorContext(checkpoint, claim.db.saved, slot))
    if (record !== undefined) await saveError(writer, record, reported)
    await claim.release()
    throw reported
  } finally {
    writer.close()
    progress.end()
    await resources.close()
  }
}

/** Returns whether the bytes are on this host. Without them `force` has no effect: rule 8 alone decides. */
async function hasFile(resources: UploadResources): Promise<boolean> {
  try {
    await resources.file()
    return true
  } catch (error) {
    if (error instanceof TempFileDamagedError || error instanceof LinkedFileChangedError)
      return false
    throw error
  }
}

/** Permits overwriting (`--force`). This changes the options sent at initiation (rule 4). */
async function forceOverwrite(writer: RecordWriter, record: Finishable): Promise<void> {
  const { overwrite, ...object } = record.object
  const unpublished = record.phase === 'completing' ? asUnpublished(record, 'pending') : record
  const { error: _overruled, ...reopened } = unpublished
  if (overwrite !== false) return writer.unanswered(record, reopened)
  const forced = { ...reopened, object, digest: initiationDigest(object) }
  // Parts that are only on OSS cannot be sent under another upload id, so only Complete changes.
  if (hasFreedParts(record)) return writer.unanswered(record, forced)
  const checkpoint = {
    ...writer.with(withUploadId(forced, undefined)),
    superseded: addSuperseded(writer.checkpoint, record.uploadId),
  }
  await writer.save(addUnanswered(checkpoint, record))
}

/** Saves the error for `ls`. If that fails, the original error is still the one to throw. */
async function saveError(
  writer: RecordWriter,
  record: UploadRecord,
  error: unknown,
): Promise<void> {
  if (!isError(error)) return
  const code = errorCode(error) ?? error.name
  await writer
    .write({ ...record, error: { code, message: error.message, at: timestamp() } })
    .catch((cause: unknown) => {
      error.cause ??= cause
    })
}
