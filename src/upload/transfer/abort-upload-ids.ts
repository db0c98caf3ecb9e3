/**
 * Aborting upload ids on OSS: those that were superseded, and those their user gives up. Never
 * any other (rule 7).
 */
import { OssRequestError } from '../../oss/request-error.js'
import type { UploadContext } from '../run/context.js'
import { withRetry } from '../model/retry.js'

/** AbortMultipartUpload requests for one upload id. */
const MAX_ABORTS = 10

/**
 * Aborts each of `uploadIds`; one that is gone already is done.
 * @returns those that could not be aborted now; their user was warned
 */
export async function abortUploadIds(
  context: UploadContext,
  uploadIds: readonly string[],
): Promise<string[]> {
  const leftover: string[] = []
  for (const uploadId of uploadIds) {
    try {
      await abortUploadId(context, uploadId)
    } catch (error) {
      if (!(error instanceof OssRequestError)) throw error
      leftover.push(uploadId)
      context.warn(`Upload id ${uploadId} could not be aborted yet: ${error.describe()}`, {
        cause: error,
      })
    }
  }
  return leftover
}

/**
 * Aborts until OSS says `NoSuchUpload`: a part that was in flight may survive the first abort (OSS
 * documentation, "AbortMultipartUpload").
 */
export async function abortUploadId(context: UploadContext, uploadId: string): Promise<void> {
  const { bucket, key, callOptions, retryPolicy } = context
  for (let i = 0; i < MAX_ABORTS; i++) {
    if (!(await withRetry(() => bucket.abort(key, uploadId, callOptions), retryPolicy))) return
  }
}
