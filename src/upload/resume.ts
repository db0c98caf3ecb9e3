/**
 * Finishing an upload whose source is not needed any more, in whatever process and however long
 * after the seal. Damage found on the way sends the upload to the quarantine, never into an object.
 */
import type { Checkpoint, UploadRecord } from '../disk/checkpoint.js'
import { TempFileDamagedError } from '../disk/temp-file.js'
import type { UploadContext } from './context.js'
import { toSpoolError, publishedState } from './error-mapping.js'
import { hasFreedParts } from './freed-parts.js'
import { finish, type FinishResult } from './finish.js'
import { RecordWriter } from './record-writer.js'
import {
  initiationDigest,
  reopen,
  addSuperseded,
  withLostInitiates,
  timestamp,
  withUploadId,
  type Finishable,
} from './phase.js'
import { isSinglePut } from './plan.js'
import { UploadRun } from './upload-run.js'

/** Where in the checkpoint the upload is that can be finished; none: the source is still needed. */
export function finishableSlot(checkpoint: Checkpoint): 'upload' | 'previous' | undefined {
  for (const slot of ['upload', 'previous'] as const) {
    const phase = checkpoint[slot]?.phase
    if (phase === 'sealed' || phase === 'completing') return slot
  }
  return undefined
}

/**
 * Finishes the upload in `slot`; ends the claim, whatever happens.
 * @param force publish over an object of someone else's
 */
export async function finishSlot(
  context: UploadContext,
  slot: 'upload' | 'previous',
  force: boolean,
): Promise<FinishResult> {
  context.diagnostics.started(true, context.checkpoint[slot]?.spooled ?? 0)
  try {
    return await finishSealed(context, slot, force)
  } catch (error) {
    context.diagnostics.failed(error)
    throw error
  }
}

async function finishSealed(
  context: UploadContext,
  slot: 'upload' | 'previous',
  force: boolean,
): Promise<FinishResult> {
  const { claim } = context
  const writer = new RecordWriter(claim, slot)
  const work = new UploadRun(context, writer)
  const { freed } = writer.record
  try {
    context.startRetryTime()
    const taken = withLostInitiates(writer.checkpoint)
    if (taken !== writer.checkpoint) await writer.save(taken)
    const record = recordIn(writer)
    if (force && (await hasTempFile(work))) await forceOverwrite(writer, record)
    const total = isSinglePut(record.plan, record.size) ? 1 : record.crcs.length
    context.progress.update({
      phase: record.phase,
      spooled: record.spooled,
      size: record.size,
      parts: { done: 0, total },
    })
    return await finish(work)
  } catch (error) {
    await work.close() // nothing may note anything once the claim has ended
    writer.close()
    if (error instanceof TempFileDamagedError) throw await claim.quarantine(error)
    const { bucket, key } = writer.checkpoint
    const record = writer.checkpoint[slot] // a predecessor that is lost is there no more
    const uploadId = record?.uploadId
    const cause: unknown = claim.lockLost?.aborted === true ? claim.lockLost.reason : error
    const reported = toSpoolError(cause, {
      id: claim.id,
      bucket,
      key,
      sealed: true,
      published: publishedState(record?.phase),
      freed,
      uploadId,
    })
    if (record !== undefined) await saveError(writer, record, reported)
    await claim.release()
    throw reported
  } finally {
    writer.close()
    context.progress.end()
    await work.close()
  }
}

/** Without its bytes nothing can be forced: rule 8 alone tells whether a killed process had published them. */
async function hasTempFile(work: UploadRun): Promise<boolean> {
  try {
    await work.file()
    return true
  } catch (error) {
    if (error instanceof TempFileDamagedError) return false
    throw error
  }
}

/** `--force`: nothing protects what is there; what is sent at initiation changes with it (rule 4). */
async function forceOverwrite(writer: RecordWriter, record: Finishable): Promise<void> {
  const { overwrite, ...object } = record.object
  const { error: _overruled, ...reopened } = reopen(record)
  if (overwrite !== false) return writer.write(reopened)
  const forced = { ...reopened, object, digest: initiationDigest(object) }
  // Parts that only OSS has cannot be sent under another upload id: Complete alone is different then.
  if (hasFreedParts(record)) return writer.write(forced)
  await writer.save({
    ...writer.with(withUploadId(forced, undefined)),
    superseded: addSuperseded(writer.checkpoint, record.uploadId),
  })
}

/** Why it ended, for `ls`; its own failure to be written must not hide the reason. */
async function saveError(
  writer: RecordWriter,
  record: UploadRecord,
  error: unknown,
): Promise<void> {
  if (!(error instanceof Error)) return
  const code = 'code' in error ? String(error.code) : error.name
  await writer
    .write({ ...record, error: { code, message: error.message, at: timestamp() } })
    .catch((cause: unknown) => {
      error.cause ??= cause
    })
}

function recordIn(writer: RecordWriter): Finishable {
  const { record } = writer
  if (record.phase === 'sealed' || record.phase === 'completing') return record
  throw new Error(`An upload in phase ${record.phase} cannot be resumed`)
}
