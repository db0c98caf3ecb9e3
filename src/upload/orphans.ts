/**
 * Orphans: upload ids that OSS made for an Initiate whose answer we never got. Lists of OSS carry no
 * metadata, so the token cannot be read from them; an orphan is known by its key, by the time in
 * which our Initiate may have taken effect, and by holding no part. Aborted only by `prune`.
 */
import type { Checkpoint, LostWindow } from '../disk/checkpoint.js'
import { ownerOf } from '../disk/lock.js'
import type { SpoolDirectory } from '../disk/spool-directory.js'
import { DurableCheckpointFile } from '../disk/store.js'
import { kindOf, OssFailure } from '../oss/failure.js'
import type { UploadContext } from './context.js'
import { withRetry } from './retry.js'

/** OSS writes times of Initiate in whole seconds or ms, and its clock is only nearly known to us. */
const TOLERANCE = 1_000

/** Upload ids of a key that some upload of this spool uses. */
export interface UsedUploadIds {
  readonly uploadIds: ReadonlySet<string>
  /** When they were read, by our clock: an upload id made after that may be in use, too. */
  readonly at: number
  /** Some upload waits for the answer to an Initiate just now. */
  readonly initiating: boolean
}

/** Reads what the checkpoints of a spool say of an object; damaged ones are for others to report. */
export async function usedUploadIds(
  spool: SpoolDirectory,
  object: Pick<Checkpoint, 'endpoint' | 'bucket' | 'key'>,
): Promise<UsedUploadIds> {
  const at = Date.now()
  const uploadIds = new Set<string>()
  let initiating = false
  for (const id of await spool.ids()) {
    const file = new DurableCheckpointFile(spool.checkpointOf(id))
    const checkpoint = await file.read().catch(() => null)
    if (checkpoint === null || checkpoint.key !== object.key) continue
    if (checkpoint.bucket !== object.bucket || checkpoint.endpoint !== object.endpoint) continue
    const { upload, previous, superseded } = checkpoint
    for (const uploadId of [upload.uploadId, previous?.uploadId, ...superseded]) {
      if (uploadId !== undefined) uploadIds.add(uploadId)
    }
    if (upload.initiating !== undefined && (await ownerOf(spool.directoryOf(id))) !== undefined) {
      initiating = true
    }
  }
  return { uploadIds, at, initiating }
}

/** An upload id that nobody got, and when it was made by our clock. */
export interface Orphan {
  readonly uploadId: string
  readonly time: number
}

/** The orphans of this upload's key. None while it cannot be told which upload id is whose. */
export async function findOrphans(
  context: UploadContext,
  lost: readonly LostWindow[],
  used: UsedUploadIds,
): Promise<Orphan[]> {
  if (lost.length === 0 || used.initiating) return []
  const { bucket, key, call, attempts } = context
  const listed = await withRetry(() => bucket.listUploads(key, call), attempts)
  const offset = bucket.now() - Date.now()
  const orphans: Orphan[] = []
  for (const { uploadId, initiated } of listed) {
    const time = initiated - offset
    if (used.uploadIds.has(uploadId) || time > used.at - TOLERANCE || !isWithin(time, lost))
      continue
    if (await isEmpty(context, uploadId)) orphans.push({ uploadId, time })
  }
  return orphans
}

/** The times that have to be looked at again: nothing was found yet, and something may still come. */
export function stillLost(
  lost: readonly LostWindow[],
  found: readonly Orphan[],
  used: UsedUploadIds,
): LostWindow[] {
  if (used.initiating) return [...lost]
  return lost.filter(
    window =>
      Date.parse(window.to) > used.at && !found.some(({ time }) => isWithin(time, [window])),
  )
}

function isWithin(time: number, windows: readonly LostWindow[]): boolean {
  return windows.some(
    ({ from, to }) => time >= Date.parse(from) - TOLERANCE && time <= Date.parse(to) + TOLERANCE,
  )
}

/** One that has gone meanwhile holds no part either, but there is nothing to abort. */
async function isEmpty(context: UploadContext, uploadId: string): Promise<boolean> {
  const { bucket, key, call, attempts } = context
  try {
    const list = async (): Promise<number> => (await bucket.listParts(key, uploadId, call)).size
    return (await withRetry(list, { ...attempts, final: ['no-upload'] })) === 0
  } catch (error) {
    if (error instanceof OssFailure && kindOf(error) === 'no-upload') return false
    throw error
  }
}

/**
 * Whether a lost Initiate left anything. When OSS does not say, it may have: the note stays, and
 * `prune` looks again.
 */
export async function mayHaveOrphans(
  context: UploadContext,
  lost: readonly LostWindow[],
  uploadIds: ReadonlySet<string>,
): Promise<boolean> {
  const used = { uploadIds, at: Date.now() + 2 * TOLERANCE, initiating: false }
  try {
    return (await findOrphans(context, lost, used)).length > 0
  } catch (error) {
    if (error instanceof OssFailure) return true
    throw error
  }
}
