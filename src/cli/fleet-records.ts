/**
 * Records of a fleet, for commands that work on uploads. Only flags on the command line select them: a machine of a
 * fleet has its Redis in its environment or configuration, and its local uploads must not be overlooked for that.
 */
import type { RecordStore } from '../disk/record-store.js'
import type { SharedSpoolDirectory } from '../disk/shared-spool-directory.js'
import type { RedisCheckpoints } from '../redis/redis-checkpoints.js'
import type { UploadStatus } from '../upload/maintenance/status.js'
import type { SpoolWarning } from '../upload/run/context.js'
import { omitUndefined } from '../util/omit-undefined.js'
import type { RedisFlags } from './redis-connection.js'
import type { GlobalFlags, Session } from './session.js'
import { readSpoolContent, spoolDirectoryOf, type SpoolContent } from './spool-content.js'

/** Flags of the commands that work on the uploads of a fleet, too. */
export type FleetRecordFlags = GlobalFlags & RedisFlags & { readonly host?: string }

/** One connection per run. */
const stores = new WeakMap<Session, Promise<RedisCheckpoints>>()

/** Returns the option of the spool that keeps its records with the fleet; none if no fleet is selected. */
export async function fleetOptions(
  session: Session,
  flags: FleetRecordFlags,
): Promise<{ readonly checkpointStore?: RedisCheckpoints }> {
  return session.selectsFleet ? { checkpointStore: await openStore(session, flags) } : {}
}

/** Returns the records that the command line selects: of a fleet, or in the spool directory. */
export async function selectedRecords(
  session: Session,
  flags: FleetRecordFlags,
): Promise<RecordStore> {
  const directory = await spoolDirectoryOf(session, flags)
  if (session.selectsFleet) {
    const { SharedSpoolDirectory: DirectoryClass } =
      await import('../disk/shared-spool-directory.js')
    const store = await openStore(session, flags)
    return store.recordStoreFor(new DirectoryClass(directory))
  }
  const { LocalRecordStore } = await import('../disk/local-record-store.js')
  return new LocalRecordStore(directory)
}

/** Like `readSpoolContent`, for the selected records. */
export async function selectedContent(
  session: Session,
  flags: FleetRecordFlags,
): Promise<SpoolContent> {
  if (!session.selectsFleet) return readSpoolContent(session, flags)
  const { listUploads } = await import('../upload/maintenance/list.js')
  const records = await selectedRecords(session, flags)
  const warn = (warning: SpoolWarning): void => session.logSpoolWarning(warning)
  const quarantined = await records.quarantined()
  return {
    directory: await spoolDirectoryOf(session, flags),
    uploads: await listUploads(records, warn),
    quarantine: quarantined.map(({ name, path, since }) => ({
      name,
      ...(path === undefined ? {} : { path }),
      since: new Date(since).toISOString(),
    })),
  }
}

/** Returns whether this host, which its name identifies, has the bytes of an upload. */
export async function hasBytesHere(
  session: Session,
  flags: FleetRecordFlags,
  { id, host }: Pick<UploadStatus, 'id' | 'host'>,
): Promise<boolean> {
  if (!session.selectsFleet) return true
  const store = await openStore(session, flags)
  return host === store.host && (await (await selectedRecords(session, flags)).hasBytes(id))
}

function openStore(session: Session, flags: FleetRecordFlags): Promise<RedisCheckpoints> {
  const opened = stores.get(session) ?? connectStore(session, flags)
  stores.set(session, opened)
  return opened
}

/** @throws UsageError, or SpoolError `ERR_SPOOL_UNREADABLE` if Redis does not answer */
async function connectStore(session: Session, flags: FleetRecordFlags): Promise<RedisCheckpoints> {
  const { openRedisOnce } = await import('./redis-connection.js')
  const { RedisCheckpoints: RedisCheckpointsClass } = await import('../redis/redis-checkpoints.js')
  const { client, names } = await openRedisOnce(session, flags)
  const options = omitUndefined({ host: flags.host, prefix: names.recordPrefix })
  const store = new (class extends RedisCheckpointsClass {
    /** Leaves bytes without a record where they are: a person may have named the wrong fleet. Its workers sweep. */
    override recordStoreFor(spool: SharedSpoolDirectory): RecordStore {
      return Object.assign(super.recordStoreFor(spool), { sweep: async () => [] })
    }
  })(client, options)
  session.onClose(() => store.close())
  return store
}
