/** Reads the content of a spool directory, without credentials and without a connection. */
import type { UploadStatus } from '../upload/maintenance/status.js'
import type { SpoolWarning } from '../upload/run/context.js'
import type { GlobalFlags, Session } from './session.js'

/** An upload that was quarantined because its files could not be trusted. */
export interface QuarantinedUpload {
  /** `<id>-<time>`. */
  readonly name: string
  readonly path: string
  /** ISO 8601, UTC. */
  readonly since: string
}

export interface SpoolContent {
  readonly directory: string
  /** Uploads and receipts, oldest first. */
  readonly uploads: readonly UploadStatus[]
  readonly quarantine: readonly QuarantinedUpload[]
}

/**
 * Reads everything. Quarantines damaged records (rule 10).
 * @param warn – called for each of them; by default, logs the warning
 */
export async function readSpoolContent(
  session: Session,
  flags: GlobalFlags,
  warn: (warning: SpoolWarning) => void = warning => session.logWarning(warning),
): Promise<SpoolContent> {
  const { SpoolDirectory } = await import('../disk/spool-directory.js')
  const { defaultDirectory } = await import('../upload/model/names.js')
  const directory = flags.spool ?? defaultDirectory(session.io.env)
  const spoolDirectory = new SpoolDirectory(directory)
  const ids = await spoolDirectory.ids()
  const uploads = ids.length === 0 ? [] : await readStatuses(directory, warn, ids)
  const quarantine = (await spoolDirectory.quarantined()).map(({ name, path, since }) => ({
    name,
    path,
    since: new Date(since).toISOString(),
  }))
  return { directory, uploads, quarantine }
}

/** Reads the statuses. Imports lazily, since the modules for checkpoints and locks are slow to load. */
async function readStatuses(
  directory: string,
  warn: (warning: SpoolWarning) => void,
  ids: readonly string[],
): Promise<UploadStatus[]> {
  const { LocalRecordStore } = await import('../disk/local-record-store.js')
  const { listUploads } = await import('../upload/maintenance/list.js')
  return listUploads(new LocalRecordStore(directory), warn, ids)
}
