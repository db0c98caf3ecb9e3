/**
 * The default record store: each upload's record and lock are in its directory, next to its bytes. Separate
 * from `SpoolDirectory` because the modules for checkpoints and locks are slow to load.
 */
import type { Checkpoint } from './checkpoint.js'
import { Lock, ownerOf, type Owner } from './lock.js'
import { syncDirectory } from './durable-fs.js'
import type { LockedRecord, RecordStore } from './record-store.js'
import { SpoolDirectory } from './spool-directory.js'
import { CheckpointFile } from './checkpoint-db.js'
import { checkDirectory } from './trusted-files.js'

export class LocalRecordStore extends SpoolDirectory implements RecordStore {
  idsOnHost(): Promise<string[]> {
    return this.ids()
  }

  async read(id: string): Promise<Checkpoint | null> {
    if (!checkDirectory(this.directoryOf(id))) return null
    return new CheckpointFile(this.checkpointPath(id)).read()
  }

  owner(id: string): Promise<Owner | undefined> {
    return ownerOf(this.directoryOf(id))
  }

  async lock(id: string): Promise<LockedRecord | 'owned' | 'gone'> {
    const lock = await Lock.acquire(this.directoryOf(id))
    if (typeof lock === 'string') return lock
    try {
      await this.checkOwn(id) // a process of a fleet may have been faster
    } catch (error) {
      lock.release()
      throw error
    }
    return new LockedLocalRecord(this, id, lock)
  }
}

/** The record of one upload, while its lock is held. */
class LockedLocalRecord extends CheckpointFile implements LockedRecord {
  readonly #spool: SpoolDirectory
  readonly #id: string
  readonly #lock: Lock

  constructor(spool: SpoolDirectory, id: string, lock: Lock) {
    super(spool.checkpointPath(id))
    this.#spool = spool
    this.#id = id
    this.#lock = lock
  }

  makeDurable(): Promise<void> {
    return syncDirectory(this.#spool.directoryOf(this.#id))
  }

  async locateBytes(): Promise<'here'> {
    return 'here'
  }

  removeOtherFiles(named: readonly string[]): Promise<void> {
    return this.#spool.removeOtherFiles(this.#id, named, this.#lock)
  }

  remove(): Promise<Error | undefined> {
    return this.#spool.remove(this.#id, this.#lock)
  }

  quarantine(): Promise<string> {
    return this.#spool.quarantine(this.#id)
  }

  async release(): Promise<void> {
    this.#lock.release()
  }
}
