/** Reads the content of a spool directory, without credentials and without a connection. */
import type { UploadStatus } from '../upload/maintenance/status.js'
import type { SpoolWarning } from '../upload/run/context.js'
import type { GlobalFlags, Session } from './session.js'

/** An upload that was quarantined because its files could not be trusted. */
export interface QuarantinedUpload {
  /** `<id>-<time>`. */
  readonly name: string
  /** Absent if it is on another host of a fleet. */
  readonly path?: string
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
 * Reads everything. Quarantines damaged records (rule 10), and removes the leftovers of killed processes.
 * @param warn – called for each damaged record, and if others can write there; by default, logs the warning
 * @throws SpoolError if the directory cannot be read
 */
export async function readSpoolContent(
  session: Session,
  flags: GlobalFlags,
  warn: (warning: SpoolWarning) => void = warning => session.logSpoolWarning(warning),
): Promise<SpoolContent> {
  try {
    return await readContent(session, flags, warn)
  } catch (error) {
    const { toDiskError } = await import('../upload/run/error-mapping.js')
    throw toDiskError(error)
  }
}

async function readContent(
  session: Session,
  flags: GlobalFlags,
  warn: (warning: SpoolWarning) => void,
): Promise<SpoolContent> {
  const { SpoolDirectory, renamedUploadWarning } = await import('../disk/spool-directory.js')
  const directory = await spoolDirectoryOf(session, flags)
  const { unsafePermissionsWarning } = await import('../disk/trusted-files.js')
  const unsafe = unsafePermissionsWarning(directory)
  if (unsafe !== undefined) warn({ id: '', message: unsafe })
  const spool = new SpoolDirectory(directory)
  for (const renamed of await spool.sweep()) {
    warn({ id: renamed.id, message: renamedUploadWarning(renamed) })
  }
  const ids = await spool.ids()
  const uploads = ids.length === 0 ? [] : await readStatuses(directory, warn, ids)
  return { directory, uploads, quarantine: await readQuarantine(session, flags) }
}

/** Resolves to the spool directory that the flags select. */
export async function spoolDirectoryOf(session: Session, flags: GlobalFlags): Promise<string> {
  const { defaultDirectory } = await import('../upload/model/names.js')
  return flags.spool ?? defaultDirectory(session.io.env)
}

/** Lists the quarantine. */
async function readQuarantine(session: Session, flags: GlobalFlags): Promise<QuarantinedUpload[]> {
  const { SpoolDirectory } = await import('../disk/spool-directory.js')
  const quarantined = await new SpoolDirectory(await spoolDirectoryOf(session, flags)).quarantined()
  return quarantined.map(({ name, path, since }) => ({
    name,
    path,
    since: new Date(since).toISOString(),
  }))
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
