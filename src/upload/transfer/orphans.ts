/**
 * Orphans: upload ids that OSS made for an Initiate whose answer we never got. Lists of OSS carry no
 * metadata, so the token cannot be read from them; an orphan is known by its key, by the time in
 * which our Initiate may have taken effect, and by holding no part. Aborted only by `prune`.
 */
import {
  CheckpointDamagedError,
  type Checkpoint,
  type InitiateWindow,
} from '../../disk/checkpoint.js'
import type { RecordStore } from '../../disk/record-store.js'
import { OssRequestError } from '../../oss/request-error.js'
import type { UploadContext } from '../run/context.js'
import { withRetry } from '../model/retry.js'

/** OSS writes times of Initiate in whole seconds or ms, and its clock is only nearly known to us. */
const CLOCK_TOLERANCE_MS = 1_000

/** Upload ids of a key that some upload of this spool uses. */
interface UsedUploadIds {
  readonly uploadIds: ReadonlySet<string>
  /** When they were read, by our clock: an upload id made after that may be in use, too. */
  readonly at: number
  /** Not all are known: an upload waits for the answer to an Initiate, or cannot be read now. */
  readonly incomplete: boolean
}

/** Reads what the checkpoints of a spool say of an object; damaged ones are for others to report. */
async function usedUploadIds(
  records: RecordStore,
  object: Pick<Checkpoint, 'id' | 'endpoint' | 'bucket' | 'key'>,
): Promise<UsedUploadIds> {
  const at = Date.now()
  const uploadIds = new Set<string>()
  let incomplete = false
  for (const id of await records.ids()) {
    const checkpoint = await records.read(id).catch((error: unknown) => {
      if (!(error instanceof CheckpointDamagedError)) incomplete = true
      return null
    })
    if (checkpoint === null || checkpoint.key !== object.key) continue
    if (checkpoint.bucket !== object.bucket || checkpoint.endpoint !== object.endpoint) continue
    const { upload, previous, superseded } = checkpoint
    for (const uploadId of [upload.uploadId, previous?.uploadId, ...superseded]) {
      if (uploadId !== undefined) uploadIds.add(uploadId)
    }
    const other = upload.initiating !== undefined && id !== object.id
    if (other && (await records.owner(id)) !== undefined) incomplete = true
  }
  return { uploadIds, at, incomplete }
}

/** An upload id that nobody got, and when it was made by our clock. */
interface Orphan {
  readonly uploadId: string
  readonly time: number
}

/** What a search found, and the times in which something may still come to light. */
interface OrphanSearch {
  readonly orphans: readonly Orphan[]
  readonly stillLost: readonly InitiateWindow[]
}

/**
 * Looks for the orphans of an upload whose claim the caller holds. An upload id that is too young to
 * tell whose it is, is waited for, two seconds at most.
 */
export async function findOrphans(
  context: UploadContext,
  records: RecordStore,
  lost: readonly InitiateWindow[],
): Promise<OrphanSearch> {
  if (lost.length === 0) return { orphans: [], stillLost: [] }
  for (let last = false; ; last = true) {
    const used = await usedUploadIds(records, context.checkpoint)
    if (used.incomplete) return { orphans: [], stillLost: lost }
    const candidates = await findCandidates(context, lost, used.uploadIds)
    const orphans = candidates.filter(({ time }) => time <= used.at - CLOCK_TOLERANCE_MS)
    if (orphans.length === candidates.length || last) {
      return { orphans, stillLost: stillLost(lost, orphans, used.at) }
    }
    await context.pause(2 * CLOCK_TOLERANCE_MS)
  }
}

/** Empty upload ids of the key that nobody of `used` is, made when an answer of ours was lost. */
async function findCandidates(
  context: UploadContext,
  lost: readonly InitiateWindow[],
  used: ReadonlySet<string>,
): Promise<Orphan[]> {
  const { bucket, key, callOptions, retryPolicy } = context
  const listed = await withRetry(() => bucket.listUploads(key, callOptions), retryPolicy)
  const offset = bucket.now() - Date.now()
  const candidates: Orphan[] = []
  for (const { uploadId, initiated } of listed) {
    const time = initiated - offset
    if (used.has(uploadId) || !isWithin(time, lost)) continue
    if (await hasNoParts(context, uploadId)) candidates.push({ uploadId, time })
  }
  return candidates
}

/** The times that have to be looked at again: nothing was found yet, and something may still come. */
function stillLost(
  lost: readonly InitiateWindow[],
  found: readonly Orphan[],
  now: number,
): InitiateWindow[] {
  return lost.filter(
    window => Date.parse(window.to) > now && !found.some(({ time }) => isWithin(time, [window])),
  )
}

function isWithin(time: number, windows: readonly InitiateWindow[]): boolean {
  return windows.some(
    ({ from, to }) =>
      time >= Date.parse(from) - CLOCK_TOLERANCE_MS && time <= Date.parse(to) + CLOCK_TOLERANCE_MS,
  )
}

/** One that has gone meanwhile holds no part either, but there is nothing to abort. */
async function hasNoParts(context: UploadContext, uploadId: string): Promise<boolean> {
  const { bucket, key, callOptions, retryPolicy } = context
  const listed = await withRetry(() => bucket.listParts(key, uploadId, callOptions), retryPolicy)
  return listed?.size === 0
}

/**
 * Whether a lost Initiate left anything. When OSS does not say, it may have: the note stays, and
 * `prune` looks again.
 */
export async function mayHaveOrphans(
  context: UploadContext,
  lost: readonly InitiateWindow[],
  used: ReadonlySet<string>,
): Promise<boolean> {
  try {
    return (await findCandidates(context, lost, used)).length > 0
  } catch (error) {
    if (error instanceof OssRequestError) return true
    throw error
  }
}
