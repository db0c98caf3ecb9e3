/**
 * The default of the port: each upload's record and lock lie beside its bytes, in its directory. Apart
 * from `SpoolDirectory` because what reads checkpoints and locks takes a while to load.
 */
import type { Checkpoint } from './checkpoint.js'
import { Lock, ownerOf, type Owner } from './lock.js'
import type { HeldRecord, Records } from './records.js'
import { SpoolDirectory } from './spool-directory.js'
import { DurableCheckpointFile } from './store.js'
import { checkDirectory } from './trust.js'

export class LocalRecords extends SpoolDirectory implements Records {
  async read(id: string): Promise<Checkpoint | null> {
    if (!checkDirectory(this.directoryOf(id))) return null
    return new DurableCheckpointFile(this.checkpointOf(id)).read()
  }

  owner(id: string): Promise<Owner | undefined> {
    return ownerOf(this.directoryOf(id))
  }

  async lock(id: string): Promise<HeldRecord | 'owned' | 'gone'> {
    const lock = await Lock.acquire(this.directoryOf(id))
    if (typeof lock === 'string') return lock
    const file = new DurableCheckpointFile(this.checkpointOf(id))
    return {
      read: () => file.read(),
      write: checkpoint => file.write(checkpoint),
      whereabouts: async () => 'here',
      tidy: named => this.tidy(id, named),
      remove: () => this.remove(id),
      quarantine: () => this.quarantine(id),
      release: async () => lock.release(),
    }
  }
}
