/** Finds uploads that nobody finished in time, so that a stuck backup is noticed. */
import { isCommitted, isFinishable, type Checkpoint } from '../disk/checkpoint.js'
import type { RecordStore } from '../disk/record-store.js'
import { idArgument } from './proposed-command.js'
import type { Session } from './session.js'
import { selectedRecords, type FleetRecordFlags } from './fleet-records.js'
import { formatAgo } from './units.js'

/**
 * Logs a line for each upload that is still there and whose seal, last commit or quarantine was more than
 * `staleAfter` ms ago, of all endpoints and owners. Resolves to whether there are any.
 */
export async function reportStaleUploads(
  session: Session,
  flags: FleetRecordFlags,
  staleAfter: number,
): Promise<boolean> {
  const now = Date.now()
  const records = await selectedRecords(session, flags)
  // A date in the future is of a clock that was wrong: its true age is unknown.
  const isStale = (since: number): boolean => Math.abs(now - since) > staleAfter
  const stale = [
    ...(await staleUploads(session, records, now, isStale)),
    ...(await records.quarantined())
      .filter(({ since }) => isStale(since))
      .map(({ name, path, since }) => ({
        id: name,
        message: `${name} is stale: in quarantine since ${new Date(since).toISOString()}, at ${path ?? 'another host'}`,
      })),
  ]
  for (const { message, id } of stale) session.logLine(message, { level: 'error', id })
  return stale.length > 0
}

async function staleUploads(
  session: Session,
  records: RecordStore,
  now: number,
  isStale: (since: number) => boolean,
): Promise<{ id: string; message: string }[]> {
  const stale: { id: string; message: string }[] = []
  for (const id of await records.ids()) {
    const checkpoint = await records.read(id).catch(() => null) // listing has reported it
    const since = checkpoint === null ? undefined : durableSince(checkpoint)
    if (checkpoint === null || since === undefined || !isStale(since)) continue
    const { bucket, key, endpoint } = checkpoint
    const age = formatAgo(since, now)
    const command = session.propose('show', ...idArgument(id))
    const message = `${id} (oss://${bucket}/${key} at ${endpoint}) is stale: sealed or committed ${age} and not published. To see its state, run "${command}"`
    stale.push({ id, message })
  }
  return stale
}

/** Returns when the oldest bytes that wait to be published were sealed or committed, in ms since 1970. */
function durableSince({ upload, previous }: Checkpoint): number | undefined {
  const times = [upload, previous].flatMap(record => {
    if (isFinishable(record)) return [Date.parse(record.sealedAt)]
    return isCommitted(record) ? [Date.parse(record.committed.at)] : []
  })
  return times.length === 0 ? undefined : Math.min(...times)
}
