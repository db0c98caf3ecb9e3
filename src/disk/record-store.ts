/**
 * The interface to the records and locks of uploads. They are in the spool directory next to the bytes
 * (`local-record-store.ts`), or in a store that several machines share (`../redis/`). The bytes themselves
 * are always in the spool directory of the machine that received them.
 */
import type { Adapter } from 'lowdb'
import type { Checkpoint, ObjectAddress } from './checkpoint.js'
import type { Owner } from './lock.js'
import type { SharedSpoolDirectory } from './shared-spool-directory.js'
import type { RenamedUpload } from './spool-directory.js'

/** Stores the checkpoints and locks of a `Spool` outside its directory: the option `checkpointStore` of a `Spool`. */
export interface CheckpointStore {
  /** Identifies a checkpoint store. */
  readonly kind: 'checkpoint-store'
  /** @internal Returns the records of the uploads whose bytes are in `spool`. */
  recordStoreFor(spool: SharedSpoolDirectory): RecordStore
}

/** The records of a spool. Reading takes no lock; changing an upload requires its lock. */
export interface RecordStore {
  /**
   * Returns the directory for the bytes of an upload on this machine.
   * @throws TypeError if the id is invalid
   */
  directoryOf(id: string): string
  /** Returns the ids of all possible uploads that `select` accepts, sorted. Reads no directory of the others. */
  ids(select?: (id: string) => boolean): Promise<string[]>
  /** Returns the ids of all possible uploads with files on this host. */
  idsOnHost(): Promise<string[]>
  /** Returns whether `ids()` contains `id`. */
  has(id: string): Promise<boolean>
  /**
   * Reads the durable checkpoint; `null` if there is none.
   * @throws CheckpointDamagedError, LaterFormatError, ...
   */
  read(id: string): Promise<Checkpoint | null>
  /** Returns the process that holds the lock, if any. */
  owner(id: string): Promise<Owner | undefined>
  /** Returns whether this host has files of `id` other than its record and lock. */
  hasBytes(id: string): Promise<boolean>
  /** Creates the directory for the bytes of `id`. @throws SpoolError if it has other content */
  prepare(id: string): Promise<void>
  /**
   * Locks an upload.
   * @returns `'owned'` if the lock is held; `'gone'` if the upload disappeared: check again
   */
  lock(id: string): Promise<LockedRecord | 'owned' | 'gone'>
  /** Notes durably that `id` is about to be bound for `object`, to which another upload could publish, too. */
  noteMove(object: ObjectAddress, id: string): Promise<void>
  /** Removes such notes of `id`, which the caller has locked, except the one for `except`. */
  forgetMoves(id: string, except?: ObjectAddress): Promise<void>
  /** Returns the ids noted for `object`. Only their records say whether they are bound for it, or still are. */
  movesTo(object: ObjectAddress): Promise<string[]>
  /**
   * Cleans up after killed processes.
   * @returns uploads with the name of a removed one that were not removed
   */
  sweep(): Promise<RenamedUpload[]>
  /**
   * Returns the names of quarantined uploads, when they were quarantined (ms since 1970), and the directories of
   * those on this host.
   */
  quarantined(): Promise<
    { readonly name: string; readonly since: number; readonly path?: string }[]
  >
  discardQuarantined(name: string): Promise<void>
}

/** One upload's record while its lock is held: the adapter for lowdb, and the ways to end the upload. */
export interface LockedRecord extends Adapter<Checkpoint | null> {
  /** Host whose disk the bytes go to; set if records are shared. */
  readonly host?: string
  /** Aborted when the lock is lost; the reason is a `SpoolError`. */
  readonly lockLost?: AbortSignal
  /**
   * Makes the checkpoint that was read durable, if it may not be: the process that wrote it may have died before
   * its last sync, and the new owner relies on it.
   */
  makeDurable?(): Promise<void>
  /**
   * Returns where the bytes of `checkpoint` are: on this host's disk, on that of another host that is alive,
   * or nowhere, because they are lost.
   */
  locateBytes(checkpoint: Checkpoint): Promise<'here' | 'elsewhere' | 'nowhere'>
  /** Removes all files on this host except those named. Must not run while anything else is being written. */
  removeOtherFiles(named: readonly string[]): Promise<void>
  /**
   * Removes the upload: bytes first, the record last (rule 6).
   * @returns why some of its files are left to the next sweep; usually `undefined`
   */
  remove(): Promise<Error | undefined>
  /** Quarantines bytes and record. Resolves with their new location. */
  quarantine(): Promise<string>
  /** Releases the lock; required also after `remove` and `quarantine`. */
  release(): Promise<void>
}
