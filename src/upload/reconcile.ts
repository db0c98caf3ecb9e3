/**
 * Did it succeed? The exact answer after any ambiguous reply to Complete or PutObject, and after a
 * crash in `completing` (rule 8): the object is ours if and only if token, size and CRC64 are.
 */
import type { Completing, Sealed } from '../disk/checkpoint.js'
import { errorKind, OssRequestError } from '../oss/request-error.js'
import type { Bucket, CallOptions, ObjectInfo } from '../oss/bucket.js'
import { reopen, withUploadId } from './phase.js'
import { isSinglePut } from './plan.js'

/**
 * - `ours`: done
 * - `alive`: not done, and the upload id still lives: go on with it
 * - `strangers`: someone wrote the key after we began to complete: their object stays
 * - `wrong`: an earlier attempt of ours is there, and it is not right: all again, from the temp file
 * - `nothing`: not done, and there is no upload id: the same, under a new one
 */
export type Outcome = 'ours' | 'alive' | 'strangers' | 'wrong' | 'nothing'

/** The comparison. An object without a CRC64 (from a server that makes none) is never ours. */
export function isOurObject(record: Sealed | Completing, object: ObjectInfo): boolean {
  return (
    object.token === expectedToken(record) &&
    object.size === record.size &&
    String(object.crc64) === record.crc64
  )
}

/**
 * The token that the object has if it is ours: none under an upload id that another program made. Then
 * size and CRC64 alone say that what is there is what was to be there.
 */
function expectedToken({ imported, plan, size, token }: Sealed | Completing): string | undefined {
  return imported === true && !isSinglePut(plan, size) ? undefined : token
}

/** The decision, from what HEAD and ListParts said. Last-Modified has whole seconds: in doubt, theirs. */
export function classifyOutcome(
  record: Completing,
  object: ObjectInfo | undefined,
  uploadIdLives: boolean,
): Outcome {
  if (object !== undefined && isOurObject(record, object)) return 'ours'
  if (uploadIdLives) return 'alive'
  if (object === undefined) return 'nothing'
  if (object.token === record.token) return 'wrong' // whoever wrote it
  const ourSecond = Math.floor(Date.parse(record.completingAt) / 1000) * 1000
  return object.lastModified >= ourSecond ? 'strangers' : 'nothing'
}

/** Asks OSS. Rejects with an `OssRequestError` when it cannot be known now: then all state is kept. */
export async function reconcile(
  record: Completing,
  bucket: Bucket,
  key: string,
  call: CallOptions,
): Promise<{ outcome: Outcome; object: ObjectInfo | undefined }> {
  const object = await bucket.head(key, call)
  // Of a PutObject, an upload id (got early, never used) says nothing.
  const uploadId = record.method === 'multipart' ? record.uploadId : undefined
  if (uploadId === undefined || (object !== undefined && isOurObject(record, object))) {
    return { outcome: classifyOutcome(record, object, false), object }
  }
  const lives = await isAlive(bucket, key, uploadId, call)
  // Nothing completes an upload id that is gone, but since the first look the Complete of a process that
  // was killed may have: only what is there now is the answer.
  const now = lives ? object : await bucket.head(key, call)
  return { outcome: classifyOutcome(record, now, lives), object: now }
}

async function isAlive(
  bucket: Bucket,
  key: string,
  uploadId: string,
  call: CallOptions,
): Promise<boolean> {
  try {
    await bucket.listParts(key, uploadId, call)
    return true
  } catch (error) {
    if (error instanceof OssRequestError && errorKind(error) === 'no-upload') return false
    throw error
  }
}

/** The record once it is certain that nothing was published, and no stranger came after us. */
export function asUnpublished(record: Completing, outcome: 'alive' | 'nothing'): Sealed {
  const sealed = reopen(record)
  // An upload id that PutObject did not use is still to be aborted.
  const known = outcome === 'alive' || record.method === 'put'
  return known ? sealed : withUploadId(sealed, undefined)
}
