/**
 * A claim: one upload, locked by this process, with its store. Whoever changes anything in an
 * upload's directory holds its claim; whoever only looks reads the checkpoint, which is replaced
 * atomically, without one.
 */
import { unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { SpoolError } from '../errors.js'
import { CheckpointDamage, LaterFormat, type Checkpoint } from './checkpoint.js'
import { ignoreMissing, isSystemError } from './durable.js'
import { Lock, ownerOf } from './lock.js'
import type { SpoolDirectory } from './spool-directory.js'
import { CheckpointStore, DurableCheckpointFile } from './store.js'

/** Claims of this process that are about to be let go, by directory. */
const ending = new Map<string, Promise<void>>()

/**
 * Announces that the claim of this process on `directory` is about to end. `pipeline()` rejects before
 * its sink has closed (Node 20): the next attempt in this process waits instead of being refused.
 */
export function announceEnd(directory: string, ended: Promise<void>): void {
  const known = ended.finally(() => {
    if (ending.get(directory) === known) ending.delete(directory)
  })
  ending.set(directory, known)
}

/** Resolves when no claim of this process is about to be let go. */
export async function endingClaims(): Promise<void> {
  await Promise.all(ending.values())
}

export class Claim {
  readonly id: string
  readonly directory: string
  readonly #spool: SpoolDirectory
  readonly #store: CheckpointStore
  readonly #lock: Lock

  private constructor(spool: SpoolDirectory, id: string, store: CheckpointStore, lock: Lock) {
    this.id = id
    this.directory = spool.directoryOf(id)
    this.#spool = spool
    this.#store = store
    this.#lock = lock
  }

  /**
   * Locks `id`, making its directory if there is none, and reads its checkpoint.
   * @throws SpoolError `ERR_SPOOL_LOCKED`; `ERR_SPOOL_CORRUPT` after what was damaged has been moved
   * to the quarantine; `ERR_SPOOL_UNREADABLE` for what was left alone
   */
  static async make(spool: SpoolDirectory, id: string): Promise<Claim> {
    for (;;) {
      const made = await spool.create(id)
      if (!made && (await spool.isForeign(id))) {
        const message = `${spool.directoryOf(id)} is not the directory of an upload`
        const hint = 'Use another id, or another spool directory.'
        throw new SpoolError('ERR_SPOOL_UNREADABLE', message, { id, hint })
      }
      const claim = await Claim.#lockAndRead(spool, id)
      if (claim !== undefined) return claim
    }
  }

  /** The same for an upload that must be there. @throws SpoolError also `ERR_SPOOL_NOT_FOUND` */
  static async existing(
    spool: SpoolDirectory,
    id: string,
  ): Promise<Claim & { checkpoint: Checkpoint }> {
    const notFound = (): SpoolError =>
      new SpoolError('ERR_SPOOL_NOT_FOUND', `There is no upload ${id}`, { id })
    let claim: Claim | undefined
    while (claim === undefined) {
      if (!(await spool.has(id))) throw notFound()
      claim = await Claim.#lockAndRead(spool, id)
    }
    if (claim.checkpoint === null) {
      await claim.remove() // a crash in the first moment
      throw notFound()
    }
    // The null was ruled out in the line above.
    return claim as Claim & { checkpoint: Checkpoint }
  }

  /** Told of each write of the checkpoint, as `CheckpointStore.onWritten`. */
  set onWritten(told: CheckpointStore['onWritten']) {
    this.#store.onWritten = told
  }

  /** The checkpoint as it is on the disk or will be after the last `save`. */
  get checkpoint(): Checkpoint | null {
    return this.#store.checkpoint
  }

  /** What a new process would find now. Valid when no `save` is pending. */
  async durable(): Promise<Checkpoint | null> {
    await this.#store.settled()
    return this.#store.durable
  }

  /** What a new process would find, as far as is known: a `save` may be pending. */
  get known(): Checkpoint | null {
    return this.#store.durable
  }

  /** The next `save` writes it, or what follows from it. */
  hold(checkpoint: Checkpoint): void {
    this.#store.hold(checkpoint)
  }

  /** Resolves when `checkpoint` is durable. */
  save(checkpoint: Checkpoint): Promise<void> {
    return this.#store.write(checkpoint)
  }

  /** Removes a temp file that the checkpoint does not name any more. */
  async removeFile(name: string): Promise<void> {
    await unlink(join(this.directory, name)).catch(ignoreMissing)
  }

  /** Removes all files that are not named here. Only while nothing else is being written. */
  async tidy(named: readonly string[]): Promise<void> {
    await this.#spool.tidy(this.id, named)
  }

  /** Gives the upload up: its directory is gone, then its lock. */
  async remove(): Promise<void> {
    await this.#store.settled()
    try {
      await this.#spool.remove(this.id)
    } finally {
      this.#lock.release()
    }
  }

  /** Leaves the upload as it is, for the next owner. */
  async release(): Promise<void> {
    await this.#store.settled()
    this.#lock.release()
  }

  /** After a failure: lets go of what is still held; without a checkpoint there is nothing to keep. */
  async leave(): Promise<void> {
    if (this.#lock.released) return
    await (this.#store.durable === null ? this.remove() : this.release())
  }

  /** Moves the upload to the quarantine and ends the claim; the error says where it is. */
  async quarantine(cause: Error): Promise<SpoolError> {
    await this.#store.settled()
    let where: string
    try {
      where = await this.#spool.quarantine(this.id)
    } finally {
      this.#lock.release()
    }
    const message = `Upload ${this.id} is damaged: ${cause.message}; it was moved to ${where}`
    return new SpoolError('ERR_SPOOL_CORRUPT', message, { id: this.id, cause })
  }

  /** `undefined`: the directory or its owner went away while we looked. */
  static async #lockAndRead(spool: SpoolDirectory, id: string): Promise<Claim | undefined> {
    const directory = spool.directoryOf(id)
    const lock = await Lock.acquire(directory).catch(async (error: unknown) => {
      // Only the lock is out of reach: what is sealed can be finished once it is mended.
      const file = new DurableCheckpointFile(spool.checkpointOf(id))
      const checkpoint = await file.read().catch(() => null)
      throw unreadable(id, error, checkpoint !== null && holdsSealed(checkpoint))
    })
    if (lock === 'gone') return undefined
    if (lock === 'owned') {
      const letGo = ending.get(directory)
      if (letGo !== undefined) {
        await letGo
        return undefined
      }
      const owner = await ownerOf(directory)
      const by = owner === undefined ? 'another process' : `process ${owner.pid} on ${owner.host}`
      throw new SpoolError('ERR_SPOOL_LOCKED', `Upload ${id} is owned by ${by}`, {
        id,
        resumable: true,
      })
    }
    const claim = new Claim(spool, id, new CheckpointStore(spool.checkpointOf(id)), lock)
    try {
      const checkpoint = await claim.#store.read()
      if (checkpoint !== null && checkpoint.id !== id) {
        // The same directory to a file system that does not tell the case of letters.
        if (checkpoint.id.toLowerCase() === id.toLowerCase()) throw otherCase(id, checkpoint)
        throw new CheckpointDamage(`its checkpoint is that of ${checkpoint.id}`)
      }
      return claim
    } catch (error) {
      if (error instanceof CheckpointDamage) throw await claim.quarantine(error)
      await claim.release()
      throw unreadable(id, error)
    }
  }
}

function holdsSealed({ upload, previous }: Checkpoint): boolean {
  const phases = [upload.phase, previous?.phase]
  return phases.includes('sealed') || phases.includes('completing')
}

function otherCase(id: string, { id: other, bucket, key }: Checkpoint): SpoolError {
  const message = `The id ${id} is taken: ${other} belongs to oss://${bucket}/${key}`
  return new SpoolError('ERR_SPOOL_ID_IN_USE', message, { id: other })
}

/** What cannot be read is not damaged: it stays where it is and is reported (rule 10). */
export function unreadable(id: string, error: unknown, resumable = false): unknown {
  // A full disk is another matter: it says nothing about what is there.
  const refused =
    error instanceof Error && 'syscall' in error && !isSystemError(error, 'ENOSPC', 'EDQUOT')
  if (error instanceof LaterFormat || refused) {
    const message = `Upload ${id} cannot be read now: ${error.message}`
    return new SpoolError('ERR_SPOOL_UNREADABLE', message, { id, resumable, cause: error })
  }
  return error
}
