/**
 * Orphans: upload ids on OSS of an Initiate whose response was lost. OSS lists upload ids without metadata, so
 * they cannot be recognised by their token. Instead, an orphan has our key, was initiated while our Initiate may
 * have taken effect, and has no parts. Only `prune` aborts them.
 */
import {
  CheckpointDamagedError,
  type Checkpoint,
  type InitiateWindow,
  type ObjectAddress,
} from '../../disk/checkpoint.js'
import type { RecordStore } from '../../disk/record-store.js'
import { OssRequestError } from '../../oss/request-error.js'
import { isSameObject } from '../model/destination.js'
import type { BucketContext } from '../run/context.js'
import { withRetry } from '../model/retry.js'

/** OSS reports times of Initiate in whole seconds or ms, and we know its clock only approximately. */
const CLOCK_TOLERANCE_MS = 1_000

/** Upload ids of a key that are used by uploads of this spool. */
interface UsedUploadIds {
  readonly uploadIds: ReadonlySet<string>
  /** Time when they were read, by our clock. Upload ids initiated later may be in use, too. */
  readonly at: number
  /** True if some are unknown: an upload waits for the response to an Initiate, or cannot be read now. */
  readonly incomplete: boolean
}

/** Reads the upload ids of an object from all checkpoints of the spool. Damaged ones are reported elsewhere. */
async function usedUploadIds(
  records: RecordStore,
  id: string,
  object: ObjectAddress,
): Promise<UsedUploadIds> {
  const at = Date.now()
  const uploadIds = new Set<string>()
  let incomplete = false
  for (const each of await records.ids()) {
    const checkpoint = await records.read(each).catch((error: unknown) => {
      if (!(error instanceof CheckpointDamagedError)) incomplete = true
      return null
    })
    if (checkpoint === null) continue
    for (const uploadId of uploadIdsAt(checkpoint, object)) uploadIds.add(uploadId)
    const other = isSameObject(checkpoint, object) && each !== id
    const isInitiating = other && checkpoint.upload.initiating !== undefined
    if (isInitiating && (await records.owner(each)) !== undefined) incomplete = true
  }
  return { uploadIds, at, incomplete }
}

/** Returns the upload ids of `checkpoint` at `object`, its current or an old destination. */
function uploadIdsAt(checkpoint: Checkpoint, object: ObjectAddress): string[] {
  const { upload, previous, superseded, movedFrom = [] } = checkpoint
  const old = movedFrom.filter(place => isSameObject(place, object))
  const own = isSameObject(checkpoint, object)
    ? [upload.uploadId, previous?.uploadId, ...superseded]
    : []
  return [...own, ...old.flatMap(place => place.superseded)].filter(
    uploadId => uploadId !== undefined,
  )
}

/** An upload id whose Initiate response was lost. */
interface Orphan {
  readonly uploadId: string
  /** Time of its Initiate, by our clock, in ms since 1970. */
  readonly time: number
}

/** Result of a search. */
interface OrphanSearch {
  readonly orphans: readonly Orphan[]
  /** Windows in which an orphan may still appear. */
  readonly stillLost: readonly InitiateWindow[]
}

/**
 * Finds the orphans of an upload; the caller holds its claim. Waits up to 2 s if an upload id is too recent to
 * decide whether another upload uses it.
 */
export async function findOrphans(
  context: BucketContext,
  records: RecordStore,
  { id, ...object }: ObjectAddress & { readonly id: string },
  lost: readonly InitiateWindow[],
): Promise<OrphanSearch> {
  if (lost.length === 0) return { orphans: [], stillLost: [] }
  for (let last = false; ; last = true) {
    const used = await usedUploadIds(records, id, object)
    if (used.incomplete) return { orphans: [], stillLost: lost }
    const candidates = await findCandidates(context, lost, used.uploadIds)
    const orphans = candidates.filter(({ time }) => time <= used.at - CLOCK_TOLERANCE_MS)
    if (orphans.length === candidates.length || last) {
      return { orphans, stillLost: stillLost(lost, orphans, used.at) }
    }
    await context.pause(2 * CLOCK_TOLERANCE_MS)
  }
}

/** Returns the upload ids of the key that have no parts, are not in `used` and were initiated in a `lost` window. */
async function findCandidates(
  context: BucketContext,
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

/** Returns the windows to check again: no orphan was found yet, and one may still appear. */
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

/** False for an upload id that no longer exists: it has no parts either, but needs no abort. */
async function hasNoParts(context: BucketContext, uploadId: string): Promise<boolean> {
  const { bucket, key, callOptions, retryPolicy } = context
  const listed = await withRetry(() => bucket.listParts(key, uploadId, callOptions), retryPolicy)
  return listed?.size === 0
}

/**
 * Returns the windows to keep once the object is published: all of them while one may have left an upload id,
 * otherwise none. If OSS cannot be asked they are kept, and `prune` checks them again.
 */
export async function windowsToKeep(
  context: BucketContext,
  lost: readonly InitiateWindow[],
  used: ReadonlySet<string>,
): Promise<InitiateWindow[]> {
  if (lost.length === 0) return []
  try {
    return (await hasOrphans(context, lost, used)) ? [...lost] : []
  } catch (error) {
    if (error instanceof OssRequestError) return [...lost]
    throw error
  }
}

/** Returns whether OSS lists an upload id that a lost Initiate may have left. @throws OssRequestError */
export async function hasOrphans(
  context: BucketContext,
  lost: readonly InitiateWindow[],
  used: ReadonlySet<string>,
): Promise<boolean> {
  return (await findCandidates(context, lost, used)).length > 0
}
