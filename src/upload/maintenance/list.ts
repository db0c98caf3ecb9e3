/**
 * The list of uploads, read without their locks. One that is damaged is set aside and told of; it
 * never stops the others (rule 10).
 */
import { CheckpointDamagedError } from '../../disk/checkpoint.js'
import { Claim, pendingReleases, toUnreadableError } from '../../disk/claim.js'
import type { RecordStore } from '../../disk/record-store.js'
import { LIST_CONCURRENCY } from '../../disk/spool-directory.js'
import { SpoolError } from '../../errors.js'
import { mapLimit } from '../../util/map-limit.js'
import type { SpoolWarning } from '../run/context.js'
import { statusOf, type UploadStatus } from './status.js'

/** Oldest first. `ids`: those that the caller knows to be there. */
export async function listUploads(
  records: RecordStore,
  warn: (warning: SpoolWarning) => void,
  ids?: readonly string[],
): Promise<UploadStatus[]> {
  await pendingReleases()
  const seen = await mapLimit(LIST_CONCURRENCY, ids ?? (await records.ids()), async id => {
    try {
      return await readStatus(records, id)
    } catch (error) {
      const reported = toUnreadableError(id, error)
      if (reported instanceof SpoolError) return reported
      throw reported
    }
  })
  const statuses: UploadStatus[] = []
  for (const each of seen) {
    if (each instanceof SpoolError) warn({ id: each.id, message: each.message, cause: each })
    else if (each !== undefined) statuses.push(each)
  }
  return statuses.toSorted((a, b) => a.createdAt.localeCompare(b.createdAt))
}

async function readStatus(records: RecordStore, id: string): Promise<UploadStatus | undefined> {
  try {
    const checkpoint = await records.read(id)
    if (checkpoint?.id === id) return statusOf(checkpoint, await records.owner(id))
  } catch (error) {
    if (!(error instanceof CheckpointDamagedError)) throw error
  }
  // No checkpoint, or a damaged one: whoever gets the lock may clean up or quarantine.
  await quarantineIfDamaged(records, id)
  return undefined
}

async function quarantineIfDamaged(records: RecordStore, id: string): Promise<void> {
  try {
    const claim = await Claim.acquireExisting(records, id)
    await claim.release() // it was replaced while we looked
  } catch (error) {
    const quiet = ['ERR_SPOOL_NOT_FOUND', 'ERR_SPOOL_LOCKED'] // cleaned up, or just being made
    if (!(error instanceof SpoolError) || !quiet.includes(error.code)) throw error
  }
}
