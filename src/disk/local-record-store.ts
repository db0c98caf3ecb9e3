/**
 * The default of the port: each upload's record and lock lie beside its bytes, in its directory. Apart
 * from `SpoolDirectory` because what reads checkpoints and locks takes a while to load.
 */
import type { Checkpoint } from './checkpoint.js'
import { Lock, ownerOf, type Owner } from './lock.js'
import type { LockedRecord, RecordStore } from './record-store.js'
import { SpoolDirectory } from './spool-directory.js'
import { CheckpointFile } from './checkpoint-db.js'
import { checkDirectory } from './ownership.js'

export class LocalRecordStore extends SpoolDirectory implements RecordStore {
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
    const file = new CheckpointFile(this.checkpointPath(id))
    return {
      read: () => file.read(),
      write: checkpoint => file.write(checkpoint),
      locateBytes: async () => 'here',
      removeOtherFiles: named => this.removeOtherFiles(id, named),
      remove: () => this.remove(id),
      quarantine: () => this.quarantine(id),
      release: async () => lock.release(),
    }
  }
}
