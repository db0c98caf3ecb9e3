/**
 * Reuses the results of earlier runs of an upload: an upload id with its parts and, for a source that can
 * continue, the bytes before its offset. These are in the spool file or only on OSS; in the latter case the
 * file has a hole in their place, and their parts count as freed.
 */
import {
  resumableSlot,
  type Checkpoint,
  type Finishable,
  type Slot,
  type Spooling,
} from '../../disk/checkpoint.js'
import { hasLinkedFileChanged, LinkedFileChangedError } from '../../disk/linked-file.js'
import { openSpoolFile } from '../../disk/open-spool-file.js'
import type { SpoolFile } from '../../disk/spool-file.js'
import { TempFile, TempFileDamagedError } from '../../disk/temp-file.js'
import type { ListedPart } from '../../oss/bucket.js'
import { errorKind, OssRequestError } from '../../oss/request-error.js'
import type { UploadContext } from '../run/context.js'
import { hasFreedParts, type FreedRanges } from '../model/freed-parts.js'
import type { UploadSettings } from '../model/options.js'
import {
  adoptUploadId,
  dropPrevious,
  initiationDigest,
  isTakenOver,
  markPublished,
  partCount,
  takeOver,
  uploadIdsToAbort,
  withUploadIdsToAbort,
} from '../model/phase.js'
import { firstPart, nextPart } from '../model/plan.js'
import { asUnpublished, reconcile } from '../transfer/publish-outcome.js'
import { RecordWriter } from '../run/record-writer.js'
import { withRetry } from '../model/retry.js'

/** Idle timeout for reconciling a predecessor, in ms. Short, because the source is waiting. */
const RECONCILE_TIMEOUT_MS = 5_000

/** Bytes of an unsealed earlier run, for a source that continues after them. */
export interface ReusableBytes {
  readonly file: SpoolFile
  readonly crcs: string[]
  /** Bytes in the file, holes included. */
  readonly spooled: number
  readonly freed?: FreedRanges | undefined
  /** The parts that OSS lists, if they were listed already. */
  readonly listed?: ReadonlyMap<number, ListedPart>
}

/**
 * Reconciles records in `completing` before a new stream supersedes them (rule 8). If OSS is unavailable,
 * emits a warning and continues: no failure of OSS stops reading (rule 3).
 */
export async function reconcileCompletingRecords(context: UploadContext): Promise<void> {
  const { claim, bucket, key, callOptions } = context
  for (const slot of ['upload', 'previous'] as const) {
    const record = claim.checkpoint?.[slot]
    if (record?.phase !== 'completing') continue
    const writer = new RecordWriter(claim, slot, () => ({}))
    try {
      const call = { ...callOptions, idleTimeout: RECONCILE_TIMEOUT_MS }
      const { outcome, object } = await reconcile(record, bucket, key, call)
      if (outcome === 'ours' && object !== undefined) {
        const { etag, requestId, versionId } = object
        const version = versionId === undefined ? {} : { versionId }
        const parts = partCount(record)
        const published = markPublished(record, { etag, requestId, parts, ...version })
        const { checkpoint } = writer
        const rest = slot === 'upload' ? writer.with(published) : dropPrevious(checkpoint)
        const unused = uploadIdsToAbort(checkpoint, record, { answered: false })
        await writer.save(withUploadIdsToAbort(rest, unused))
        await context.cleanUp(() => claim.removeFile(record.file))
      } else if (outcome === 'wrong') {
        await writer.dropWrongUploadId()
      } else if (outcome === 'pending' || outcome === 'absent') {
        await writer.unanswered(record, asUnpublished(record, outcome))
      } // `foreign`: while that object exists, only `--force` may overwrite it
    } catch (error) {
      if (!(error instanceof OssRequestError) || errorKind(error) === 'aborted') throw error
      context.warn(`Could not determine whether the previous upload succeeded: ${error.describe()}`)
    }
  }
}

/**
 * Takes over an upload whose bytes were on another host that is gone. Resolves when the checkpoint durably
 * says that the upload is on this host and needs its source.
 */
export async function takeOverIfBytesLost({ claim, checkpoint }: UploadContext): Promise<void> {
  if (claim.bytesLost) await claim.db.write(takeOver(checkpoint, claim.host))
}

/**
 * Returns the record that can be finished without the source. Its bytes are on this host, or they are lost
 * but Complete was sent and OSS has an object (rule 8): ours or someone else's; the latter is reported, unless
 * it is to be overwritten, which requires the bytes.
 */
export async function findFinishable(context: UploadContext): Promise<Slot | undefined> {
  const { claim, checkpoint, bucket, key, callOptions, retryPolicy } = context
  const { force = false } = context.settings
  const slot = resumableSlot(checkpoint)
  if (slot === undefined || !claim.bytesLost) return slot
  const record = checkpoint[slot]
  if (record?.phase !== 'completing') return undefined
  const ask = () => reconcile(record, bucket, key, callOptions)
  const { outcome } = await withRetry(ask, retryPolicy)
  return outcome === 'ours' || (outcome === 'foreign' && !force) ? slot : undefined
}

/** Returns whether the bytes were in a file, read in place, that has changed since. In `completing`, OSS may have them. */
export async function hasLostFile(
  { claim }: UploadContext,
  { phase, file }: Finishable,
): Promise<boolean> {
  return phase === 'sealed' && hasLinkedFileChanged(claim.directory, file)
}

/**
 * Returns the bytes after which a source can continue: those in the file, or those on OSS if the file is
 * lost.
 */
export async function findReusableBytes(
  context: UploadContext,
  { upload }: Checkpoint,
  settings: UploadSettings,
  plan: Spooling['plan'],
): Promise<ReusableBytes | undefined> {
  const canContinue = settings.replay === 'offset' && upload.replay === 'offset'
  if (!canContinue || upload.phase !== 'spooling') return undefined
  if (upload.plan.base !== plan.base || upload.plan.cap !== plan.cap) return undefined
  const takenOver = isTakenOver(upload)
  // Bytes that are only on OSS can neither be hashed nor sent under another upload id.
  const { md5, sha256 } = settings.expect
  const isUnchanged = initiationDigest(settings.object) === upload.digest && !md5 && !sha256
  if ((takenOver || hasFreedParts(upload)) && !isUnchanged) return undefined
  if (takenOver)
    return settings.inPlace === undefined ? reusableFromOss(context, upload) : undefined
  try {
    const file = await openSpoolFile(context.claim.directory, upload.file)
    return { file, crcs: upload.crcs, spooled: upload.spooled, freed: upload.freed }
  } catch (error) {
    if (error instanceof TempFileDamagedError || error instanceof LinkedFileChangedError)
      return undefined
    throw error
  }
}

/** Reuses the parts that OSS lists without a gap, instead of a temp file that was lost with its host. */
async function reusableFromOss(
  context: UploadContext,
  record: Spooling,
): Promise<ReusableBytes | undefined> {
  const { plan, crcs } = record
  const listed = await tryListParts(context, record)
  if (listed?.has(1) !== true) return undefined
  let next = firstPart(plan)
  for (let i = 0; i < crcs.length; i++) next = nextPart(plan, next)
  const file = TempFile.create(context.claim.directory, context.claim.host)
  await file.truncate(next.start)
  return { file, crcs, spooled: next.start, freed: [[1, crcs.length]], listed }
}

/**
 * Lists the parts on OSS. Returns `undefined` if OSS is unavailable, so that no source has to wait (rule 3).
 */
async function tryListParts(
  context: UploadContext,
  { uploadId }: Spooling,
): Promise<ReadonlyMap<number, ListedPart> | undefined> {
  if (uploadId === undefined) return undefined
  const { bucket, key, callOptions } = context
  try {
    const listed = await bucket.listParts(key, uploadId, callOptions)
    if (listed === undefined) context.warn(`Upload id ${uploadId} no longer exists on OSS`)
    return listed
  } catch (error) {
    if (!(error instanceof OssRequestError) || errorKind(error) === 'aborted') throw error
    context.warnOnce(error)
    return undefined
  }
}

/** Lists the parts on OSS, with retries. The source waits, since the parts decide where it continues. */
export async function listPartsWithRetry(
  { bucket, key, callOptions, retryPolicy }: UploadContext,
  { uploadId }: Spooling,
): Promise<ReadonlyMap<number, ListedPart> | undefined> {
  if (uploadId === undefined) return undefined
  const policy = { ...retryPolicy, isUnlimited: () => true }
  return withRetry(() => bucket.listParts(key, uploadId, callOptions), policy)
}

/**
 * Adopts the upload id of an earlier run if it was initiated with the same options (rule 4), or the imported
 * one of `ali-oss` if this spool has no record yet. A bounded spool adopts no upload id that a sealed upload
 * uses: it may have to abandon it, together with its freed parts.
 */
export function chooseUploadId(
  before: Checkpoint | null,
  fresh: Spooling,
  { maxSpoolBytes, checkpoint }: UploadSettings,
): Spooling {
  if (before === null && checkpoint !== undefined) {
    return adoptUploadId(fresh, {
      token: fresh.token,
      uploadId: checkpoint.uploadId,
      imported: true,
    })
  }
  const sealed = before?.previous?.uploadId
  for (const donor of [before?.upload, before?.previous]) {
    const own = donor?.phase === 'spooling' && donor.uploadId !== sealed
    const usable = donor?.phase === 'spooling' || donor?.phase === 'sealed'
    if (maxSpoolBytes !== undefined && !own) continue
    if (usable && donor.digest === fresh.digest && donor.uploadId !== undefined) {
      return adoptUploadId(fresh, donor)
    }
  }
  return fresh
}
