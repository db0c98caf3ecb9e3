/**
 * Giving an upload up because its user says so: on OSS first, so that as long as parts are stored
 * (and billed) there, something here knows of them.
 */
import type { RecordStore } from '../disk/record-store.js'
import type { UploadContext } from './context.js'
import { abortUploadId } from './discard.js'
import { toSpoolError, publishedState } from './error-mapping.js'
import { findOrphans } from './orphans.js'
import { withLostInitiates } from './phase.js'

/**
 * Aborts every upload id of the checkpoint and what its lost Initiates left, then removes the
 * upload; ends the claim.
 */
export async function abortUpload(context: UploadContext, records: RecordStore): Promise<void> {
  const { claim } = context
  const checkpoint = withLostInitiates(context.checkpoint)
  const { id, bucket, key, upload, previous, superseded, lost } = checkpoint
  const own = [upload.uploadId, previous?.uploadId, ...superseded]
  const uploadIds = new Set(own.filter(uploadId => uploadId !== undefined))
  try {
    for (const uploadId of uploadIds) await abortUploadId(context, uploadId)
    const { orphans } = await findOrphans(context, records, lost)
    for (const { uploadId } of orphans) await abortUploadId(context, uploadId)
  } catch (error) {
    throw toSpoolError(error, {
      id,
      bucket,
      key,
      sealed: upload.phase !== 'spooling',
      published: publishedState(upload.phase),
    })
  }
  await claim.remove()
}
