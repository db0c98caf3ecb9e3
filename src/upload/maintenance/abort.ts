/**
 * Aborts an upload on request: on OSS first, so that its upload ids are on record for as long as their parts
 * are stored (and billed) there.
 */
import { resumableSlot, type Checkpoint, type OldPlace } from '../../disk/checkpoint.js'
import type { RecordStore } from '../../disk/record-store.js'
import type { Hint } from '../../hint.js'
import { OssRequestError } from '../../oss/request-error.js'
import { SpoolError } from '../../errors.js'
import type { UploadContext } from '../run/context.js'
import { abortUploadId } from '../transfer/abort-upload-ids.js'
import { errorContext, toSpoolError } from '../run/error-mapping.js'
import { objectText } from '../transfer/old-places.js'
import { findOrphans } from '../transfer/orphans.js'
import { withLostInitiates } from '../model/phase.js'

/**
 * Aborts every upload id of the checkpoint and the orphans of its lost Initiates, then removes the upload and
 * ends the claim.
 */
export async function abortUpload(context: UploadContext, records: RecordStore): Promise<void> {
  const checkpoint = withLostInitiates(context.checkpoint)
  const { upload, previous, superseded, lost, movedFrom = [] } = checkpoint
  const own = [upload.uploadId, previous?.uploadId, ...superseded]
  const uploadIds = new Set(own.filter(uploadId => uploadId !== undefined))
  try {
    for (const uploadId of uploadIds) await abortUploadId(context, uploadId)
    const { orphans } = await findOrphans(context, records, checkpoint, lost)
    for (const { uploadId } of orphans) await abortUploadId(context, uploadId)
    for (const place of movedFrom) await abortAtOldPlace(context, records, place)
  } catch (error) {
    throw toAbortError(error, checkpoint)
  }
  await context.removeUpload()
}

/** Aborts the upload ids at a place from which the upload was moved. */
async function abortAtOldPlace(
  context: UploadContext,
  records: RecordStore,
  place: OldPlace,
): Promise<void> {
  const { id, checkpoint } = context
  const at = context.at(place)
  if (at === undefined) {
    // What an Initiate without an answer may have left has no parts.
    if (place.superseded.length === 0) return
    throw new SpoolError(
      'ERR_SPOOL_ENDPOINT',
      `Upload ${id} may have parts left at ${objectText(place)}, to which the credentials of this client are not sent. Its record is kept`,
      {
        id,
        resumable: resumableSlot(checkpoint) !== undefined,
        hint: say =>
          `To give up on this disk only, ${say.abort(id, { remote: false })}. Its parts there stay then.`,
      },
    )
  }
  try {
    for (const uploadId of place.superseded) await abortUploadId(at, uploadId)
    const { orphans } = await findOrphans(at, records, { ...place, id }, place.lost)
    for (const { uploadId } of orphans) await abortUploadId(at, uploadId)
  } catch (error) {
    // Without the bucket, nothing of the upload is there.
    if (error instanceof OssRequestError && error.ossCode === 'NoSuchBucket') return
    const { bucket, key } = place
    throw toAbortError(error, { ...checkpoint, bucket, key })
  }
}

/** Returns the public error for an upload that cannot be aborted now. */
export function toAbortError(error: unknown, checkpoint: Checkpoint): unknown {
  const { id } = checkpoint
  const hint: Hint = say =>
    `The record is kept. Fix the cause, then ${say.abort(id)}. To give up on this disk only, ${say.abort(id, { remote: false })}.`
  return toSpoolError(error, {
    ...errorContext(checkpoint, checkpoint, resumableSlot(checkpoint)),
    hint,
  })
}
