/** Aborts upload ids on OSS: only superseded ones and those of uploads that the user aborts (rule 7). */
import { OssRequestError } from '../../oss/request-error.js'
import type { BucketContext, UploadContext } from '../run/context.js'
import { withRetry } from '../model/retry.js'

/** Maximum number of AbortMultipartUpload requests per upload id. */
const MAX_ABORTS = 10

/**
 * Aborts each of `uploadIds`; upload ids that no longer exist are skipped.
 * @param report – called for each upload id that could not be aborted now. Default: emits a warning
 * @returns the upload ids that could not be aborted now
 */
export async function abortUploadIds(
  context: UploadContext,
  uploadIds: readonly string[],
  report: (uploadId: string, error: OssRequestError) => void = (uploadId, error) =>
    context.warn(`Upload id ${uploadId} could not be aborted yet: ${error.describe()}`, {
      cause: error,
    }),
): Promise<string[]> {
  const leftover: string[] = []
  for (const uploadId of uploadIds) {
    try {
      await abortUploadId(context, uploadId)
    } catch (error) {
      if (!(error instanceof OssRequestError)) throw error
      leftover.push(uploadId)
      report(uploadId, error)
    }
  }
  return leftover
}

/**
 * Aborts an upload id, repeatedly until OSS responds with `NoSuchUpload`: a part in flight may survive the first
 * abort (OSS documentation, "AbortMultipartUpload").
 * @throws OssRequestError also if it still exists after many attempts
 */
export async function abortUploadId(
  { bucket, key, callOptions, retryPolicy }: BucketContext,
  uploadId: string,
): Promise<void> {
  for (let i = 0; i < MAX_ABORTS; i++) {
    if (!(await withRetry(() => bucket.abort(key, uploadId, callOptions), retryPolicy))) return
  }
  throw new OssRequestError({
    operation: 'AbortMultipartUpload',
    name: 'UploadIdRemains',
    message: `The upload id ${uploadId} still exists after ${MAX_ABORTS} attempts to abort it`,
  })
}
