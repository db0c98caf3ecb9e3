/**
 * Recognises the object of an upload whose record is lost, by the fingerprint in its metadata. The token cannot do
 * that, since it was in the record.
 */
import { errorKind, isRefusal, OssRequestError } from '../../oss/request-error.js'
import { withRetry } from '../model/retry.js'
import type { UploadContext } from '../run/context.js'
import type { RecognisedObject } from '../run/result.js'

/** Idle timeout and attempts of the request. Few, because the source is waiting. */
const HEAD_TIMEOUT_MS = 5_000
const HEAD_ATTEMPTS = 3

/**
 * Returns the object if it has this fingerprint. `undefined` also where OSS refuses HEAD (a write-only policy) or does
 * not answer: no failure of OSS stops reading (rule 3).
 */
export async function findRecognisedObject(
  context: UploadContext,
  fingerprint: string,
): Promise<RecognisedObject | undefined> {
  const { bucket, key, callOptions, retryPolicy } = context
  const { retry } = retryPolicy
  const attempts = Math.min(HEAD_ATTEMPTS, retry.attempts)
  const call = { ...callOptions, idleTimeout: HEAD_TIMEOUT_MS }
  try {
    const object = await withRetry(() => bucket.head(key, call), {
      ...retryPolicy,
      retry: { ...retry, attempts },
    })
    if (object?.fingerprint !== fingerprint) return undefined
    const { crc64 } = object
    return crc64 === undefined ? undefined : { ...object, crc64 }
  } catch (error) {
    if (!(error instanceof OssRequestError) || errorKind(error) === 'aborted') throw error
    if (!isRefusal(error)) context.warnOnce(error)
    return undefined
  }
}
