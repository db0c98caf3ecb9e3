/**
 * Removes stale data. Unsealed uploads, receipts and quarantined files are removed by age; sealed and committed
 * uploads, and orphans, only on request. An upload that has an owner is never changed.
 */
import { Claim } from '../../disk/claim.js'
import {
  resumableSlot,
  type Checkpoint,
  type InitiateWindow,
  type OldPlace,
} from '../../disk/checkpoint.js'
import type { RecordStore } from '../../disk/record-store.js'
import { checkBooleans, invalidType, outOfRange, SpoolError } from '../../errors.js'
import { abortUpload, toAbortError } from './abort.js'
import type { BucketContext, UploadContext } from '../run/context.js'
import { abortUploadId, abortUploadIds } from '../transfer/abort-upload-ids.js'
import { errorContext, toDiskError, toSpoolError } from '../run/error-mapping.js'
import { settleOldPlaces, withOldPlaces } from '../transfer/old-places.js'
import { findOrphans, windowsToKeep } from '../transfer/orphans.js'
import { withLostInitiates, withUploadIdsToAbort } from '../model/phase.js'

/** Options of `spool.prune()`. */
export interface PruneOptions {
  /** Only remove entries that were idle for at least this many ms. @default 7 days */
  readonly olderThan?: number
  /** Also remove sealed and committed uploads. Their bytes are lost. @default false */
  readonly sealed?: boolean
  /**
   * Also abort empty upload ids left on OSS by lost Initiate responses, regardless of their age.
   * @default false
   */
  readonly orphans?: boolean
  /** Remove nothing, and only return what would be removed. @default false */
  readonly dryRun?: boolean
}

/** One removed entry, one that would be removed with `dryRun`, or one that could not be removed. */
export interface Pruned {
  /** Kind of the entry. An orphan is an upload id on OSS that no checkpoint contains. */
  readonly kind: 'upload' | 'receipt' | 'quarantine' | 'orphan'
  /** Id of the upload; for a quarantined item, the name of its folder. */
  readonly id: string
  /** Bucket; absent for quarantined items. */
  readonly bucket?: string
  /** Key of the object; absent for quarantined items. */
  readonly key?: string
  /** Upload id on OSS; only for an orphan. */
  readonly uploadId?: string
  /** Why the entry could not be removed, such as an abort that OSS refused. Its record stays. */
  readonly error?: SpoolError
}

/** Names of the options of `prune`. */
export const PRUNE_OPTIONS: Readonly<Record<keyof PruneOptions, true>> = {
  olderThan: true,
  sealed: true,
  orphans: true,
  dryRun: true,
}

export const WEEK_MS = 7 * 24 * 60 * 60 * 1000

/** Dependencies of `prune`. */
export interface PruneDeps {
  readonly records: RecordStore
  readonly contextOf: (claim: Claim, checkpoint: Checkpoint) => UploadContext
  readonly warn: (id: string, error: unknown) => void
}

export async function prune(pruner: PruneDeps, options: PruneOptions): Promise<Pruned[]> {
  const { olderThan = WEEK_MS, sealed, orphans, dryRun = false } = options
  checkBooleans({ sealed, orphans, dryRun })
  if (typeof olderThan !== 'number') throw invalidType('olderThan', 'a number', olderThan)
  if (!(olderThan >= 0)) throw outOfRange('olderThan', '>= 0', olderThan)
  const settings = { ...options, olderThan, dryRun }
  const pruned = await pruneEach(pruner, id => pruneUpload(pruner, id, settings))
  for (const { name, since } of await pruner.records.quarantined()) {
    if (ageOf(since) < olderThan) continue
    if (!dryRun) await pruner.records.discardQuarantined(name)
    pruned.push({ kind: 'quarantine', id: name })
  }
  return pruned
}

/** Calls `pruneOne` for each upload. One that has an owner is skipped, any other failure is reported. */
export async function pruneEach(
  { records, warn }: PruneDeps,
  pruneOne: (id: string) => Promise<Pruned[]>,
): Promise<Pruned[]> {
  const pruned: Pruned[] = []
  for (const id of await records.ids()) {
    try {
      pruned.push(...(await pruneOne(id)))
    } catch (cause) {
      const error = toDiskError(cause)
      if (!(error instanceof SpoolError)) throw error
      if (error.code !== 'ERR_SPOOL_LOCKED') warn(id, error)
    }
  }
  return pruned
}

type PruneSettings = PruneOptions & { readonly olderThan: number; readonly dryRun: boolean }

async function pruneUpload(
  pruner: PruneDeps,
  id: string,
  options: PruneSettings,
): Promise<Pruned[]> {
  const checkpoint = await pruner.records.read(id).catch(() => null)
  if (checkpoint !== null && !(await needsPruning(pruner.records, checkpoint, options))) return []
  const claim = await Claim.acquireExisting(pruner.records, id).catch(ignoreNotFound)
  if (claim === undefined) return [] // leftovers of a crash, which were just removed
  try {
    return await pruneClaimed(pruner, claim, options)
  } catch (error) {
    throw toSpoolError(error, errorContext(claim.checkpoint, claim.checkpoint))
  } finally {
    await claim.releaseOrRemove()
  }
}

/** Handler for a claim of an upload that may have ended meanwhile. */
export function ignoreNotFound(error: unknown): undefined {
  if (error instanceof SpoolError && error.code === 'ERR_SPOOL_NOT_FOUND') return undefined
  throw error
}

async function pruneClaimed(
  pruner: PruneDeps,
  claim: Claim & { checkpoint: Checkpoint },
  options: PruneSettings,
): Promise<Pruned[]> {
  const { checkpoint } = claim
  const { id, bucket, key } = checkpoint
  const context = pruner.contextOf(claim, checkpoint)
  const kind = pruneKind(checkpoint, options)
  const pruned: Pruned[] = []
  const removeEntry = async (entry: Pruned, remove: () => Promise<void>): Promise<void> => {
    const error = options.dryRun ? undefined : await failureOf(remove, checkpoint)
    pruned.push(error === undefined ? entry : { ...entry, error })
  }
  if (kind !== undefined) {
    await removeEntry({ kind, id, bucket, key }, () => abortUpload(context, pruner.records))
    return pruned
  }
  if (options.orphans === true) {
    await pruneOrphans(pruner, context, options, pruned, removeEntry)
  }
  if (!options.dryRun) pruned.push(...(await cleanUpPublished(context, claim)))
  return pruned
}

/** Aborts the orphans of lost Initiates, at the destination of the upload and at its old places. */
async function pruneOrphans(
  { records }: PruneDeps,
  context: UploadContext,
  { dryRun }: PruneSettings,
  pruned: readonly Pruned[],
  removeEntry: (entry: Pruned, remove: () => Promise<void>) => Promise<void>,
): Promise<void> {
  const checkpoint = withLostInitiates(context.checkpoint)
  const { id, movedFrom = [] } = checkpoint
  const search = async (
    at: BucketContext | undefined,
    { endpoint, bucket, key, lost }: Pick<OldPlace, 'endpoint' | 'bucket' | 'key' | 'lost'>,
  ): Promise<InitiateWindow[]> => {
    if (at === undefined || lost.length === 0) return lost
    const object = { id, endpoint, bucket, key }
    const { orphans, stillLost } = await findOrphans(at, records, object, lost)
    const before = pruned.length
    for (const { uploadId } of orphans) {
      const entry: Pruned = { kind: 'orphan', id, bucket, key, uploadId }
      await removeEntry(entry, () => abortUploadId(at, uploadId))
    }
    const isRefused = pruned.slice(before).some(({ error }) => error !== undefined)
    return isRefused ? lost : [...stillLost]
  }
  const lost = await search(context, checkpoint)
  const places: OldPlace[] = []
  for (const place of movedFrom) {
    places.push({ ...place, lost: await search(context.at(place), place) })
  }
  const hadLost = [checkpoint, ...movedFrom].some(each => each.lost.length > 0)
  if (!dryRun && hadLost) {
    await context.claim.db.write({ ...checkpoint, lost, ...withOldPlaces(checkpoint, places) })
  }
}

/** Runs `remove`. Resolves to the error of a failure. */
export async function failureOf(
  remove: () => Promise<void>,
  checkpoint: Checkpoint,
): Promise<SpoolError | undefined> {
  try {
    await remove()
    return undefined
  } catch (cause) {
    const error = toAbortError(cause, checkpoint)
    if (error instanceof SpoolError) return error
    throw error
  }
}

/**
 * Aborts the remaining upload ids of a published upload. Removes its record if that is no longer needed.
 * @returns an entry only if an upload id could not be aborted
 */
async function cleanUpPublished(
  context: UploadContext,
  claim: Claim & { checkpoint: Checkpoint },
): Promise<Pruned[]> {
  const { id, bucket, key, upload } = claim.checkpoint
  if (upload.phase !== 'published') return []
  const errors: unknown[] = []
  const superseded = await abortUploadIds(context, claim.checkpoint.superseded, (_, error) => {
    errors.push(toAbortError(error, claim.checkpoint))
  })
  await context.cleanUp(() => claim.removeOtherFiles([]))
  const places = await settleOldPlaces(context)
  const lost = await windowsToKeep(context, claim.checkpoint.lost, new Set(superseded))
  const isSettled = superseded.length + lost.length + places.length === 0
  if (!upload.once && isSettled) await context.removeUpload()
  else {
    const left = withOldPlaces(claim.checkpoint, places)
    await claim.db.write({ ...withUploadIdsToAbort(claim.checkpoint, superseded), lost, ...left })
  }
  const error = errors.find(each => each instanceof SpoolError)
  return error === undefined ? [] : [{ kind: 'upload', id, bucket, key, error }]
}

/** Returns whether there may be something to remove, so that other uploads are not locked. */
async function needsPruning(
  records: RecordStore,
  checkpoint: Checkpoint,
  options: PruneSettings,
): Promise<boolean> {
  if (pruneKind(checkpoint, options) !== undefined) return true
  if (options.orphans === true && hasLostInitiates(checkpoint)) return true
  const { id, upload, superseded } = checkpoint
  // Left by a crash, or because something could not be removed then.
  if (upload.phase !== 'published') return false
  return !upload.once || superseded.length > 0 || (await records.hasBytes(id))
}

function hasLostInitiates(checkpoint: Checkpoint): boolean {
  const { lost, movedFrom = [] } = withLostInitiates(checkpoint)
  return lost.length > 0 || movedFrom.some(place => place.lost.length > 0)
}

/** Returns the age in ms. A date in the future is of a clock that was wrong; its entry is kept, unless any age will do. */
function ageOf(since: number): number {
  return Math.max(0, Date.now() - since)
}

/** Returns the kind to report if this upload should be removed, or `undefined` to keep it. */
function pruneKind(
  checkpoint: Checkpoint,
  options: PruneSettings,
): 'upload' | 'receipt' | undefined {
  const { upload } = checkpoint
  if (ageOf(Date.parse(upload.updatedAt)) < options.olderThan) return undefined
  if (upload.phase === 'published') return upload.once ? 'receipt' : undefined
  return resumableSlot(checkpoint) !== undefined && options.sealed !== true ? undefined : 'upload'
}
