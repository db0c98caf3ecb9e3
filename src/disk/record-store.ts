/**
 * The port behind which the records and locks of uploads live: in the spool directory beside the
 * bytes (`spool-directory.ts`), or where several machines share them (`../redis/`). The bytes
 * themselves are always in the spool directory of the machine that took them.
 */
import type { Adapter } from 'lowdb'
import type { Checkpoint } from './checkpoint.js'
import type { Owner } from './lock.js'
import type { SpoolDirectory } from './spool-directory.js'

/** The option `checkpoints` of a `Spool`: where it keeps records and locks. */
export interface CheckpointStore {
  /** Identifies a checkpoint store. */
  readonly kind: 'checkpoint-store'
  /** @internal The records of the uploads whose bytes this process puts into `spool`. */
  recordStoreFor(spool: SpoolDirectory): RecordStore
}

/** The records of a spool. What reads takes no lock; whoever changes an upload holds its lock. */
export interface RecordStore {
  /** Where the bytes of an upload are, on this machine. @throws TypeError for what cannot be an id */
  directoryOf(id: string): string
  /** Ids of all uploads that there may be, in order. */
  ids(): Promise<string[]>
  /** Whether `ids()` names it. */
  has(id: string): Promise<boolean>
  /** What a new process would find; `null`: nothing. @throws CheckpointDamagedError, LaterFormatError, ... */
  read(id: string): Promise<Checkpoint | null>
  /** Who works on it now. */
  owner(id: string): Promise<Owner | undefined>
  /** Makes the place for the bytes of `id`. @throws SpoolError when it is someone else's */
  prepare(id: string): Promise<void>
  /** `'owned'`: another one has the lock. `'gone'`: the upload went away meanwhile; look again. */
  lock(id: string): Promise<LockedRecord | 'owned' | 'gone'>
  /** Finishes what killed processes left half-done. */
  sweep(): Promise<void>
  /** What could not be trusted: names and when (ms) it was set aside. */
  quarantined(): Promise<{ readonly name: string; readonly since: number }[]>
  discardQuarantined(name: string): Promise<void>
}

/** One upload's record under its lock: what lowdb reads and writes, and what ends it. */
export interface LockedRecord extends Adapter<Checkpoint | null> {
  /** Whose disk the bytes go to; recorded where that is a question. */
  readonly host?: string
  /** Aborted when the lock is lost while it is held; the reason is a `SpoolError`. */
  readonly lockLost?: AbortSignal
  /**
   * Where the bytes of `checkpoint` are: on this disk, on that of another host that may come back, or
   * nowhere any more.
   */
  locateBytes(checkpoint: Checkpoint): Promise<'here' | 'elsewhere' | 'nowhere'>
  /** Removes all files here that are not named; only while nothing else is being written. */
  removeOtherFiles(named: readonly string[]): Promise<void>
  /** Bytes first, the record last (rule 6). */
  remove(): Promise<void>
  /** Sets bytes and record aside; resolves to where they are now. */
  quarantine(): Promise<string>
  /** Lets go of the lock, also after `remove` and `quarantine`. */
  release(): Promise<void>
}
