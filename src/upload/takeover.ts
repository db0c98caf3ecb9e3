/**
 * Takeover: going on with an upload whose bytes were on a disk that is gone with its host. What OSS has
 * is not sent again (rule 4), and where the source can continue behind it, it is not read again either.
 */
import type { Checkpoint, Spooling } from '../disk/checkpoint.js'
import { errorKind, OssRequestError } from '../oss/request-error.js'
import type { ListedPart } from '../oss/bucket.js'
import type { UploadContext } from './context.js'
import { takeOver } from './phase.js'
import { withRetry } from './retry.js'
import { reconcile } from './reconcile.js'

/**
 * Whether the upload in `slot` can be brought to its end without its bytes, since OSS was told to put it
 * together and has an object there (rule 8): ours, or a stranger's, which is then told. To `force` ours
 * over theirs needs the bytes.
 */
export async function isFinishableWithoutBytes(
  context: UploadContext,
  slot: 'upload' | 'previous',
  force: boolean,
): Promise<boolean> {
  const record = context.checkpoint[slot]
  if (record?.phase !== 'completing') return false
  const ask = () => reconcile(record, context.bucket, context.key, context.callOptions)
  const { outcome } = await withRetry(ask, context.retryPolicy)
  return outcome === 'ours' || (outcome === 'strangers' && !force)
}

/** The transition, durable when it resolves: the upload is on this host now, and needs its source. */
export async function takeOverIfBytesLost(context: UploadContext): Promise<void> {
  const { claim, checkpoint } = context
  if (claim.bytesLost) await claim.save(takeOver(checkpoint, claim.host))
}

/** What OSS has of an upload; `undefined` where it cannot be asked now: no source is kept waiting (rule 3). */
export async function tryListParts(
  context: UploadContext,
  { uploadId }: Spooling,
): Promise<ReadonlyMap<number, ListedPart> | undefined> {
  if (uploadId === undefined) return undefined
  const { bucket, key, callOptions } = context
  try {
    return await bucket.listParts(key, uploadId, callOptions)
  } catch (error) {
    if (!(error instanceof OssRequestError) || errorKind(error) === 'aborted') throw error
    context.warnOnce(error)
    return undefined
  }
}

/** Why an upload that was sealed elsewhere cannot be finished here. */
export function bytesLostMessage({ host }: Checkpoint): string {
  return `Its bytes were on host ${host}, which is gone`
}
