/**
 * `upload()` and `resume()` of a `Spool`, once they have the upload's claim: finishes what an earlier run sealed,
 * and reads the source only if that is not possible.
 */
import { pipeline } from 'node:stream/promises'
import {
  isFinishable,
  resumableSlot,
  type Checkpoint,
  type Finishable,
  type Published,
  type Slot,
  type UploadRecord,
} from './disk/checkpoint.js'
import { SpoolError } from './errors.js'
import type { Place } from './oss/bucket.js'
import type { UploadContext } from './upload/run/context.js'
import type { Ingest } from './upload/spooling/ingest.js'
import type { UploadSettings } from './upload/model/options.js'
import { findFinishable, hasLostFile } from './upload/spooling/previous-run.js'
import { receiptOf, recognisedResult, resultOf, type UploadResult } from './upload/run/result.js'
import { finishSlot } from './upload/finish/finish-slot.js'
import { checkLateExpectation } from './upload/finish/late-expectation.js'
import { isTooOld } from './upload/model/phase.js'
import { openSource, type Source, type SourceOptions } from './upload/model/source.js'
import { checkSameDestination, startIngest } from './upload/spooling/start-ingest.js'
import { abortUpload } from './upload/maintenance/abort.js'
import { findRecognisedObject } from './upload/transfer/recognised-object.js'
import { settleOldPlaces } from './upload/transfer/old-places.js'
import { SpoolWriteStream } from './write-stream.js'
import { toError } from './util/error-shape.js'

/** Whole content that an earlier run of an upload has sealed or published. */
export interface EarlierUpload {
  /** Id of the upload. */
  readonly id: string
  readonly bucket: string
  readonly key: string
  readonly size: number
  readonly crc64: string
  /** Whether it has a receipt. Otherwise it is sealed, and OSS may have it. */
  readonly isPublished: boolean
}

/**
 * Finishes the sealed upload of this id, or calls `source` and reads it once.
 * @param compare – called before an earlier run's upload is finished, or its receipt returned; a rejection leaves it
 * unchanged
 */
export async function retryableUpload(
  context: UploadContext,
  place: Place,
  source: Source,
  settings: UploadSettings,
  compare: (earlier: EarlierUpload) => Promise<void> = async () => {},
): Promise<UploadResult> {
  const { claim } = context
  const { checkpoint } = claim
  if (checkpoint !== null) {
    checkSameDestination(checkpoint, place, context.key)
    const { upload } = checkpoint
    if (upload.phase === 'published' && upload.once) {
      await context.cleanUp(() => claim.removeOtherFiles([])) // a crash may have left its temp file
      await claim.release()
      await compare(earlierUpload(checkpoint, upload))
      return receiptOf(checkpoint, upload, performance.now() - context.startedAt)
    }
  }
  const recognised = await recogniseObject(context, place, settings)
  if (recognised !== undefined) return recognised
  if (checkpoint !== null) {
    const slot = await findSlot(context, settings)
    const record = slot === undefined ? undefined : checkpoint[slot]
    const canFinish = isWhole(record) && !isTooOld(record, settings.maxAge)
    if (slot !== undefined && canFinish && !(await hasLostFile(context, record))) {
      if (!claim.bytesLost) await checkLateExpectation(context, record, settings)
      await compare(earlierUpload(checkpoint, record))
      await requestReceipt(context, slot, settings)
      return finishSealed(context, slot, settings)
    }
  }
  const ingest = await startIngest(context, place, settings, { resumeAtOffset: true })
  return readSource(ingest, source, settings)
}

/** Finishes an upload without its source, up to its last commit if it is not sealed. */
export async function resumeUpload(
  context: UploadContext,
  settings: UploadSettings,
): Promise<UploadResult> {
  const { claim, id, checkpoint } = context
  const slot = await findSlot(context, settings)
  if (slot !== undefined) return finishSealed(context, slot, settings)
  const { upload, bucket, key, host } = checkpoint
  if (upload.phase === 'published') {
    await context.runUntilAborted(settings.signal, () => settlePublished(context, upload))
    return receiptOf(checkpoint, upload, 0)
  }
  await claim.release()
  const areBytesLost = claim.bytesLost && resumableSlot(checkpoint) !== undefined
  const why = areBytesLost
    ? `Its bytes were on host ${host}, which is gone`
    : 'Its source did not end successfully'
  throw new SpoolError(
    'ERR_SPOOL_UNSEALED',
    `Upload ${id} (oss://${bucket}/${key}) needs its source again. ${why}`,
    { id },
  )
}

/** Settles the places from which a published upload was moved, and ends the claim. */
async function settlePublished(context: UploadContext, upload: Published): Promise<void> {
  const { claim, checkpoint } = context
  const { superseded, lost, movedFrom = [] } = checkpoint
  if (movedFrom.length > 0) {
    const places = await settleOldPlaces(context)
    if (!upload.once && superseded.length + lost.length + places.length === 0) {
      return context.removeUpload()
    }
    await claim.db.write({ ...checkpoint, movedFrom: places })
  }
  await claim.release()
}

/**
 * Returns the object of an earlier run whose record is lost, or older than the object because Redis was restored.
 * Bytes on this disk are finished instead, since only they can tell what became of their requests.
 */
async function recogniseObject(
  context: UploadContext,
  { bucket }: Place,
  { fingerprint, signal }: UploadSettings,
): Promise<UploadResult | undefined> {
  const { claim, id, key, startedAt } = context
  const { checkpoint } = claim
  const hasBytes =
    checkpoint !== null && !claim.bytesLost && resumableSlot(checkpoint) !== undefined
  if (fingerprint === undefined || hasBytes) return undefined
  const object = await context.runUntilAborted(signal, () =>
    findRecognisedObject(context, fingerprint),
  )
  if (object === undefined) return undefined
  if (checkpoint !== null) await abortInterruptedRun(context)
  await claim.releaseOrRemove()
  return recognisedResult({ id, bucket, key }, object, performance.now() - startedAt)
}

/** Aborts what the run left that the record describes. A failure is only a warning: `prune` aborts the rest. */
async function abortInterruptedRun(context: UploadContext): Promise<void> {
  try {
    await abortUpload(context, context.claim.records)
  } catch (cause) {
    if (!(cause instanceof SpoolError)) throw cause
    context.warn(`Cleaning up failed: ${cause.message}`, { cause })
  }
}

function findSlot(context: UploadContext, settings: UploadSettings): Promise<Slot | undefined> {
  return context.runUntilAborted(settings.signal, () => findFinishable(context))
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
    // A source that never resolves must not keep an aborted upload open.
    if (!stream.destroyed) {
      const opening = Promise.race([openSource(source, options), rejectWhenClosed(stream)])
      await pipeline(await opening, stream)
    }
  } catch (error) {
    stop.abort()
    if (!stream.destroyed) stream.destroy(toError(error))
  }
  return stream.result
}

/** The run that sealed it may have had no `once`. What was moved leaves no receipt. */
async function requestReceipt(
  { claim, checkpoint }: UploadContext,
  slot: Slot,
  { once }: UploadSettings,
): Promise<void> {
  const record = checkpoint[slot]
  if (!once || record === undefined || record.once || checkpoint.movedFrom !== undefined) return
  await claim.db.write({ ...checkpoint, [slot]: { ...record, once } })
}

async function finishSealed(
  context: UploadContext,
  slot: Slot,
  settings: UploadSettings,
): Promise<UploadResult> {
  const { checkpoint } = context
  const { published, callback } = await context.runUntilAborted(settings.signal, () =>
    finishSlot(context, slot),
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

/** Rejects when the sink closes before it was given a source. */
async function rejectWhenClosed({ result }: SpoolWriteStream): Promise<never> {
  await result
  throw new Error('A sink cannot finish before it has a source')
}

/** A prefix never passes for the whole stream (rule 13). */
function isWhole(record: UploadRecord | undefined): record is Finishable {
  return isFinishable(record) && record.prefix !== true
}

function earlierUpload(
  { id, bucket, key }: Checkpoint,
  { size, crc64, phase }: Finishable | Published,
): EarlierUpload {
  return { id, bucket, key, size, crc64, isPublished: phase === 'published' }
}
