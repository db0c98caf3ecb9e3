/**
 * Settles the places from which an upload was moved: aborts its upload ids there, and reports an object that was
 * published there after all. A place that cannot be settled now is kept, and is only a warning.
 */
import type { Checkpoint, OldPlace } from '../../disk/checkpoint.js'
import type { ObjectInfo } from '../../oss/bucket.js'
import { errorKind, isRefusal, OssRequestError } from '../../oss/request-error.js'
import { withRetry } from '../model/retry.js'
import type { BucketContext, UploadContext } from '../run/context.js'
import { abortUploadId } from './abort-upload-ids.js'
import { hasOrphans } from './orphans.js'

/** Returns the old places that are left: each of them was reported by a warning. */
export async function settleOldPlaces(context: UploadContext): Promise<OldPlace[]> {
  const left: OldPlace[] = []
  for (const place of context.checkpoint.movedFrom ?? []) {
    const rest = await settle(context, place)
    if (rest !== undefined) left.push(rest)
  }
  return left
}

/** The field of a checkpoint with these old places, for uploads that were moved. */
export function withOldPlaces(
  { movedFrom }: Checkpoint,
  left: readonly OldPlace[],
): Pick<Checkpoint, 'movedFrom'> {
  return movedFrom === undefined ? {} : { movedFrom: [...left] }
}

async function settle(context: UploadContext, place: OldPlace): Promise<OldPlace | undefined> {
  const at = context.at(place)
  if (at === undefined) {
    // What an Initiate without an answer may have left has no parts.
    if (place.superseded.length === 0 && place.sent === undefined) return undefined
    const why = 'the credentials of this client are only for other endpoints'
    context.warn(`${objectText(place)}, from which it was moved, is not settled: ${why}`)
    return place
  }
  let left: OldPlace = place
  try {
    for (const uploadId of place.superseded) {
      await abortUploadId(at, uploadId)
      left = withoutUploadId(left, uploadId)
    }
    if (place.sent !== undefined) await reportIfPublished(context, at, place, place.sent)
    const { sent: _answered, ...rest } = left
    left = rest
    return left.lost.length > 0 && (await hasOrphans(at, left.lost, new Set())) ? left : undefined
  } catch (error) {
    if (!(error instanceof OssRequestError) || errorKind(error) === 'aborted') throw error
    // Without the bucket, nothing of the upload is there.
    if (error.ossCode === 'NoSuchBucket') return undefined
    if (left.superseded.length === 0 && left.sent === undefined) return undefined
    const what = `${objectText(place)}, from which it was moved, is not settled yet`
    context.warn(`${what}: ${error.describe()}`, { cause: error })
    return left
  }
}

/** Warns about our object at the old place. A refusal is final: it is never known then. */
async function reportIfPublished(
  context: UploadContext,
  at: BucketContext,
  place: OldPlace,
  sent: NonNullable<OldPlace['sent']>,
): Promise<void> {
  const { bucket, key, callOptions, retryPolicy } = at
  try {
    const object = await withRetry(() => bucket.head(key, callOptions), retryPolicy)
    if (object === undefined || !isSame(sent, object)) return
    context.warn(`${objectText(place)}, from which it was moved, was published, too`)
  } catch (error) {
    if (!isRefusal(error) || error.ossCode === 'NoSuchBucket') throw error
    const what = `It is not known whether ${objectText(place)}, from which it was moved, was published, too`
    context.warn(`${what}: ${error.describe()}`, { cause: error })
  }
}

function isSame(sent: NonNullable<OldPlace['sent']>, object: ObjectInfo): boolean {
  const { token, size, crc64 } = object
  return token === sent.token && size === sent.size && String(crc64) === sent.crc64
}

function withoutUploadId(place: OldPlace, uploadId: string): OldPlace {
  const without = (uploadIds: readonly string[]): string[] =>
    uploadIds.filter(each => each !== uploadId)
  const { superseded, unanswered, ...rest } = place
  const open = without(unanswered ?? [])
  return {
    ...rest,
    superseded: without(superseded),
    ...(open.length === 0 ? {} : { unanswered: open }),
  }
}

/** Names the object for messages. */
export function objectText({ bucket, key, endpoint }: OldPlace): string {
  return `oss://${bucket}/${key} at ${endpoint}`
}
