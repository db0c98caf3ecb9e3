/**
 * The step that can be retried: finishes what an earlier run sealed, and reads the source only if that
 * is not possible. `upload()` and `resume()` of a `Spool`, once they have the upload's claim.
 */
import { pipeline } from 'node:stream/promises'
import { inspect } from 'node:util'
import type { Checkpoint } from './disk/checkpoint.js'
import { SpoolError } from './errors.js'
import type { Place } from './oss/bucket.js'
import { startIngest, checkSameObject } from './upload/begin.js'
import type { UploadContext } from './upload/context.js'
import type { Ingest } from './upload/ingest.js'
import type { UploadSettings } from './upload/options.js'
import { receiptOf, resultOf, type UploadResult } from './upload/result.js'
import { finishableSlot, finishSlot } from './upload/resume.js'
import { checkSealedBytes } from './upload/sealed-bytes.js'
import { openSource, type Source, type SourceOptions } from './upload/source.js'
import { bytesLostMessage, isFinishableWithoutBytes } from './upload/takeover.js'
import { SpoolWriteStream } from './write-stream.js'

/** Finishes the sealed upload of this id, or calls `source` and reads it once. */
export async function retryableUpload(
  context: UploadContext,
  place: Place,
  source: Source,
  settings: UploadSettings,
): Promise<UploadResult> {
  const { claim } = context
  const { checkpoint } = claim
  if (checkpoint !== null) {
    checkSameObject(checkpoint, place, context.key)
    const { upload } = checkpoint
    if (upload.phase === 'published' && upload.once) {
      await claim.removeOtherFiles([]) // a crash may have left its temp file
      await claim.release()
      return receiptOf(checkpoint, upload, performance.now() - context.startedAt)
    }
    const slot = await findFinishable(context, checkpoint, settings, false)
    if (slot !== undefined && !isTooOld(checkpoint, slot, settings.maxAge)) {
      if (!claim.bytesLost) await checkSealedBytes(context, checkpoint[slot], settings)
      return finishSealed(context, checkpoint, slot, settings, false)
    }
  }
  return readSource(await startIngest(context, place, settings, true), source, settings)
}

/**
 * Finishes a sealed upload without its source.
 * @param force publish over an object of someone else's
 */
export async function resumeUpload(
  context: UploadContext,
  settings: UploadSettings,
  force: boolean,
): Promise<UploadResult> {
  const { claim, id, checkpoint } = context
  const slot = await findFinishable(context, checkpoint, settings, force)
  if (slot !== undefined) return finishSealed(context, checkpoint, slot, settings, force)
  await claim.release()
  const { upload } = checkpoint
  if (upload.phase === 'published') return receiptOf(checkpoint, upload, 0)
  const lost = claim.bytesLost && finishableSlot(checkpoint) !== undefined
  const why = lost ? bytesLostMessage(checkpoint) : 'It did not end well'
  throw new SpoolError(
    'ERR_SPOOL_UNSEALED',
    `The source of upload ${id} (oss://${checkpoint.bucket}/${checkpoint.key}) is needed again. ${why}`,
    { id },
  )
}

/** What can be finished without a source, from the bytes here or because OSS has the object. */
async function findFinishable(
  context: UploadContext,
  checkpoint: Checkpoint,
  settings: UploadSettings,
  force: boolean,
): Promise<'upload' | 'previous' | undefined> {
  const slot = finishableSlot(checkpoint)
  if (slot === undefined || !context.claim.bytesLost) return slot
  const decided = await context.runUntilAborted(settings.signal, () =>
    isFinishableWithoutBytes(context, slot, force),
  )
  return decided ? slot : undefined
}

async function readSource(
  ingest: Ingest,
  source: Source,
  settings: UploadSettings,
): Promise<UploadResult> {
  const { context } = ingest
  const stop = new AbortController()
  const stream = new SpoolWriteStream({
    id: context.id,
    bucket: context.checkpoint.bucket,
    key: context.key,
    directory: context.claim.directory,
    signal: settings.signal,
    open: async () => ingest,
  })
  stream.on('error', () => {}) // the result rejects with it
  const signal = settings.signal ? AbortSignal.any([settings.signal, stop.signal]) : stop.signal
  const options: SourceOptions = { offset: ingest.offset, signal }
  try {
    // A source that is still being made must not keep an upload that was aborted.
    if (!stream.destroyed)
      await pipeline(
        await Promise.race([openSource(source, options), rejectWhenClosed(stream)]),
        stream,
      )
  } catch (error) {
    stop.abort()
    if (!stream.destroyed)
      stream.destroy(error instanceof Error ? error : new Error(inspect(error)))
  }
  return stream.result
}

async function finishSealed(
  context: UploadContext,
  checkpoint: Checkpoint,
  slot: 'upload' | 'previous',
  settings: UploadSettings,
  force: boolean,
): Promise<UploadResult> {
  const { published, callback } = await context.runUntilAborted(settings.signal, () =>
    finishSlot(context, slot, force),
  )
  return resultOf(checkpoint, published, {
    sent: context.sent,
    skipped: context.skipped(published.size),
    sourceRead: false,
    resumed: true,
    elapsed: performance.now() - context.startedAt,
    callback,
  })
}

/** Rejects when the sink ends before it was given a source. */
async function rejectWhenClosed({ result }: SpoolWriteStream): Promise<never> {
  await result
  throw new Error('A sink cannot finish before it has a source')
}

function isTooOld(checkpoint: Checkpoint, slot: 'upload' | 'previous', maxAge = Infinity): boolean {
  const record = checkpoint[slot]
  if (record === undefined || !('sealedAt' in record)) return false
  return Date.now() - Date.parse(record.sealedAt) > maxAge
}
