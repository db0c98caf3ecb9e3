/**
 * Removes selected uploads of any phase and age, such as those whose jobs are gone. An upload that has an owner is
 * never changed.
 */
import { CheckpointDamagedError, type Checkpoint } from '../../disk/checkpoint.js'
import { Claim, toUnreadableError } from '../../disk/claim.js'
import { errorContext, toSpoolError } from '../run/error-mapping.js'
import { abortUpload } from './abort.js'
import { failureOf, ignoreNotFound, pruneEach, type PruneDeps, type Pruned } from './prune.js'

/** Selects the uploads to remove. */
export interface PruneSelection {
  /** Called before an upload is claimed, and again while it is claimed. */
  readonly select: (checkpoint: Checkpoint) => Promise<boolean>
  /** Remove nothing, and only return what would be removed. */
  readonly dryRun: boolean
}

/**
 * Aborts the selected uploads on OSS, then removes their records and what this host has of them. Other hosts find
 * their bytes without a record.
 */
export function pruneSelected(deps: PruneDeps, selection: PruneSelection): Promise<Pruned[]> {
  return pruneEach(deps, id => pruneIfSelected(deps, id, selection))
}

async function pruneIfSelected(
  { records, contextOf }: PruneDeps,
  id: string,
  { select, dryRun }: PruneSelection,
): Promise<Pruned[]> {
  const found = await records.read(id).catch((error: unknown) => {
    if (error instanceof CheckpointDamagedError) return null // `prune` quarantines it
    throw toUnreadableError(id, error)
  })
  if (found === null || !(await select(found))) return []
  const claim = await Claim.acquireForAbort(records, id).catch(ignoreNotFound)
  if (claim === undefined) return []
  const { checkpoint } = claim
  try {
    if (!(await select(checkpoint))) return []
    const context = contextOf(claim, checkpoint)
    const { bucket, key } = checkpoint
    const entry: Pruned = { kind: 'upload', id, bucket, key }
    if (dryRun) return [entry]
    const error = await failureOf(() => abortUpload(context, records), checkpoint)
    return [error === undefined ? entry : { ...entry, error }]
  } catch (error) {
    throw toSpoolError(error, errorContext(checkpoint, checkpoint))
  } finally {
    await claim.releaseOrRemove()
  }
}
