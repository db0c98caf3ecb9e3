/**
 * Lists uploads without taking their locks. A damaged upload is quarantined and reported, and does not affect
 * the others (rule 10).
 */
import { CheckpointDamagedError, resumableSlot, type Checkpoint } from '../../disk/checkpoint.js'
import { Claim, waitForReleases, toUnreadableError } from '../../disk/claim.js'
import { hasLinkedFileChanged } from '../../disk/linked-file.js'
import type { RecordStore } from '../../disk/record-store.js'
import { LIST_CONCURRENCY } from '../../disk/spool-directory.js'
import { SpoolError } from '../../errors.js'
import { mapLimit } from '../../util/map-limit.js'
import type { SpoolWarning } from '../run/context.js'
import { statusOf, type UploadStatus } from './status.js'

/**
 * Returns the status of all uploads, oldest first.
 * @param warn – called for each upload that is damaged or cannot be read
 * @param ids – list only these uploads
 */
export async function listUploads(
  records: RecordStore,
  warn: (warning: SpoolWarning) => void,
  ids?: readonly string[],
): Promise<UploadStatus[]> {
  await waitForReleases()
  const results = await mapLimit(LIST_CONCURRENCY, ids ?? (await records.ids()), async id => {
    try {
      return await readStatus(records, id)
    } catch (error) {
      const reported = toUnreadableError(id, error)
      if (reported instanceof SpoolError) return reported
      throw reported
    }
  })
  const statuses: UploadStatus[] = []
  for (const each of results) {
    if (each instanceof SpoolError) warn({ id: each.id, message: each.message, cause: each })
    else if (each !== undefined) statuses.push(each)
  }
  return statuses.toSorted((a, b) => a.createdAt.localeCompare(b.createdAt))
}

async function readStatus(records: RecordStore, id: string): Promise<UploadStatus | undefined> {
  try {
    const checkpoint = await records.read(id)
    if (checkpoint?.id === id) {
      const status = statusOf(checkpoint, await records.owner(id))
      if (status === undefined || !(await areBytesGone(records, checkpoint))) return status
      return { ...status, resumable: false }
    }
  } catch (error) {
    if (!(error instanceof CheckpointDamagedError)) throw error
  }
  // No checkpoint, or a damaged one. Cleaning up and quarantining require the lock.
  await quarantineIfDamaged(records, id)
  return undefined
}

/** Returns whether the bytes that `resume` would send were in a file, read in place, that has changed since. */
async function areBytesGone(records: RecordStore, checkpoint: Checkpoint): Promise<boolean> {
  const slot = resumableSlot(checkpoint)
  const record = slot && checkpoint[slot]
  if (record === undefined) return false
  // While it is completing, OSS may have the object already, unless the last run needed the file.
  const isNeeded = record.phase !== 'completing' || record.error?.code === 'ERR_SPOOL_SOURCE_FAILED'
  if (!isNeeded) return false
  return hasLinkedFileChanged(records.directoryOf(checkpoint.id), record.file)
}

async function quarantineIfDamaged(records: RecordStore, id: string): Promise<void> {
  try {
    const claim = await Claim.acquireExisting(records, id)
    await claim.release() // valid: it was replaced meanwhile
  } catch (error) {
    const quiet = ['ERR_SPOOL_NOT_FOUND', 'ERR_SPOOL_LOCKED'] // cleaned up, or just being created
    if (!(error instanceof SpoolError) || !quiet.includes(error.code)) throw error
  }
}
