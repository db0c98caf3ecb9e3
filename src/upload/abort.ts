/**
 * Giving an upload up because its user says so: on OSS first, so that as long as parts are stored
 * (and billed) there, something here knows of them.
 */
import type { UploadContext } from './context.js'
import { discardUploadId } from './discard.js'
import { failed } from './failed.js'

/** Aborts every upload id of the checkpoint, then removes the upload; ends the claim. */
export async function giveUp(context: UploadContext): Promise<void> {
  const { checkpoint, claim } = context
  const { id, bucket, key, upload, previous } = checkpoint
  const uploadIds = new Set([upload.uploadId, previous?.uploadId, ...checkpoint.superseded])
  for (const uploadId of uploadIds) {
    if (uploadId === undefined) continue
    try {
      await discardUploadId(context, uploadId)
    } catch (error) {
      const sealed = upload.phase !== 'spooling'
      throw failed(error, { id, bucket, key, sealed, uploadId })
    }
  }
  await claim.remove()
}
