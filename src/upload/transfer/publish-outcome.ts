/**
 * Answers "did it succeed?" after an ambiguous response to Complete or PutObject, and after a crash in
 * `completing` (rule 8): the object is ours if and only if token, size and CRC64 are ours.
 */
import type { Completing, Finishable, Sealed } from '../../disk/checkpoint.js'
import type { Bucket, CallOptions, ObjectInfo } from '../../oss/bucket.js'
import { isRefusal } from '../../oss/request-error.js'
import { publishMethod, backToSealed, withUploadId } from '../model/phase.js'

/**
 * - `ours`: published
 * - `pending`: not published, and the upload id still exists. Continue with it
 * - `foreign`: someone else wrote the key after our `completing`. Leave their object unchanged
 * - `wrong`: an earlier attempt published a wrong object. Send everything again from the temp file
 * - `absent`: not published, and the upload id is gone. Send everything again under a new one
 */
export type Outcome = 'ours' | 'pending' | 'foreign' | 'wrong' | 'absent'

/** The outcomes after which the upload continues. */
export type Unpublished = Exclude<Outcome, 'ours' | 'foreign'>

/** True if the object is this upload's. False without a CRC64, which a server may not compute. */
export function isOurObject(record: Finishable, object: ObjectInfo): boolean {
  if (record.imported === true && isOlderThanRequest(record, object)) return false
  return (
    object.token === expectedToken(record) &&
    object.size === record.size &&
    String(object.crc64) === record.crc64
  )
}

/**
 * The token of our object. An imported upload id, which another program initiated, has none; size and CRC64 alone
 * decide there.
 */
function expectedToken(record: Finishable): string | undefined {
  const isImported = record.imported === true && publishMethod(record) === 'multipart'
  return isImported ? undefined : record.token
}

/** True if the object was there before our request. Last-Modified has whole seconds. */
function isOlderThanRequest(record: Finishable, { lastModified }: ObjectInfo): boolean {
  if (record.phase !== 'completing') return false
  return lastModified < Math.floor(Date.parse(record.completingAt) / 1000) * 1000
}

/**
 * Decides from the responses to HEAD and ListParts. Last-Modified has whole seconds; an object of the same
 * second is treated as someone else's.
 */
export function classifyOutcome(
  record: Completing,
  object: ObjectInfo | undefined,
  { uploadIdExists }: { uploadIdExists: boolean },
): Outcome {
  if (object !== undefined && isOurObject(record, object)) return 'ours'
  if (uploadIdExists) return 'pending'
  if (object === undefined) return 'absent'
  if (object.token === record.token) return 'wrong' // whichever request wrote it
  return isOlderThanRequest(record, object) ? 'absent' : 'foreign'
}

/**
 * Asks OSS for the outcome. Where HEAD is refused (a write-only policy), an upload id that still exists shows
 * that nothing was published under it.
 * @throws OssRequestError if it cannot be determined now; the caller must keep all state
 */
export async function reconcile(
  record: Completing,
  bucket: Bucket,
  key: string,
  call: CallOptions,
): Promise<{ outcome: Outcome; object: ObjectInfo | undefined }> {
  // PutObject does not use the upload id that may exist.
  const uploadId = record.method === 'multipart' ? record.uploadId : undefined
  let object: ObjectInfo | undefined
  try {
    object = await bucket.head(key, call)
  } catch (error) {
    if (uploadId === undefined || !isRefusal(error)) throw error
    if ((await bucket.listParts(key, uploadId, call)) === undefined) throw error
    return { outcome: 'pending', object: undefined }
  }
  if (uploadId === undefined || (object !== undefined && isOurObject(record, object))) {
    return { outcome: classifyOutcome(record, object, { uploadIdExists: false }), object }
  }
  const exists = (await bucket.listParts(key, uploadId, call)) !== undefined
  // Nothing completes an upload id that is gone, but the Complete of a killed process may have completed it
  // since the first HEAD: only a second HEAD is final.
  const now = exists ? object : await bucket.head(key, call)
  return { outcome: classifyOutcome(record, now, { uploadIdExists: exists }), object: now }
}

/** Returns the record after OSS has said that nothing was published so far and that no one else wrote the key after us. */
export function asUnpublished(record: Completing, outcome: Exclude<Unpublished, 'wrong'>): Sealed {
  const sealed = backToSealed(record)
  // It may take effect later. An upload id that PutObject did not use is still to be aborted.
  if (record.method === 'put') return { ...sealed, unansweredPut: true }
  return outcome === 'pending' ? sealed : withUploadId(sealed, undefined)
}
