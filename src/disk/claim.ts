/**
 * A claim: one upload, locked by this process, with its store. Whoever changes anything in an
 * upload's directory holds its claim; whoever only looks reads the checkpoint, which is replaced
 * atomically, without one.
 */
import { unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { SpoolError } from '../errors.js'
import {
  CheckpointDamagedError,
  finishableSlot,
  LaterFormatError,
  type Checkpoint,
} from './checkpoint.js'
import { ignoreMissing, isSystemError } from './durable-fs.js'
import type { LockedRecord, RecordStore } from './record-store.js'
import { CheckpointDb } from './checkpoint-db.js'
import { UntrustedFileError } from './ownership.js'

/** Claims of this process that are about to be let go, by directory. */
const releasing = new Map<string, Promise<void>>()

/**
 * Announces that the claim of this process on `directory` is about to end. `pipeline()` rejects before
 * its sink has closed (Node 20): the next attempt in this process waits instead of being refused.
 */
export function announceRelease(directory: string, ended: Promise<void>): void {
  const known = ended.finally(() => {
    if (releasing.get(directory) === known) releasing.delete(directory)
  })
  releasing.set(directory, known)
}

/** Resolves when no claim of this process is about to be let go. */
export async function pendingReleases(): Promise<void> {
  await Promise.all(releasing.values())
}

export class Claim {
  readonly id: string
  readonly directory: string
  /**
   * Only what is known of it is left: its bytes were on a disk that is out of reach for good, and the
   * source is needed again. What it says is changed by the takeover only.
   */
  readonly bytesLost: boolean
  readonly #record: LockedRecord
  /** The checkpoint and its writes. */
  readonly db: CheckpointDb
  #ended = false

  private constructor(
    id: string,
    directory: string,
    held: LockedRecord,
    store: CheckpointDb,
    bereft: boolean,
  ) {
    this.id = id
    this.directory = directory
    this.bytesLost = bereft
    this.#record = held
    this.db = store
  }

  /**
   * Locks `id`, making its directory if there is none, and reads its checkpoint.
   * @throws SpoolError `ERR_SPOOL_LOCKED`, also where another host has its bytes; `ERR_SPOOL_CORRUPT` after what was damaged has been moved
   * to the quarantine; `ERR_SPOOL_UNREADABLE` for what was left alone
   */
  static async acquire(records: RecordStore, id: string): Promise<Claim> {
    for (;;) {
      await records.prepare(id)
      const claim = await Claim.#lockAndRead(records, id)
      if (claim !== undefined) return claim
    }
  }

  /** The same for an upload that must be there. @throws SpoolError also `ERR_SPOOL_NOT_FOUND` */
  static async acquireExisting(
    records: RecordStore,
    id: string,
  ): Promise<Claim & { checkpoint: Checkpoint }> {
    const notFound = (): SpoolError =>
      new SpoolError('ERR_SPOOL_NOT_FOUND', `There is no upload ${id}`, { id })
    let claim: Claim | undefined
    while (claim === undefined) {
      if (!(await records.has(id))) throw notFound()
      claim = await Claim.#lockAndRead(records, id)
    }
    if (claim.checkpoint === null) {
      await claim.remove() // a crash in the first moment
      throw notFound()
    }
    // The null was ruled out in the line above.
    return claim as Claim & { checkpoint: Checkpoint }
  }

  /** Whose disk its bytes go to, where that is a question. */
  get host(): string | undefined {
    return this.#record.host
  }

  /** Aborted when its lock is lost to another owner; the reason is a `SpoolError`. */
  get lockLost(): AbortSignal | undefined {
    return this.#record.lockLost
  }

  /** The checkpoint as it is on the disk or will be after the write that was asked for last. */
  get checkpoint(): Checkpoint | null {
    return this.db.checkpoint
  }

  /** Removes a temp file that the checkpoint does not name any more. */
  async removeFile(name: string): Promise<void> {
    await unlink(join(this.directory, name)).catch(ignoreMissing)
  }

  /** Removes all files that are not named here. Only while nothing else is being written. */
  async removeOtherFiles(named: readonly string[]): Promise<void> {
    await this.#record.removeOtherFiles(named)
  }

  /** Gives the upload up: its bytes and its record are gone, then its lock. */
  async remove(): Promise<void> {
    await this.db.idle()
    try {
      await this.#record.remove()
    } finally {
      await this.#release()
    }
  }

  /** Leaves the upload as it is, for the next owner. */
  async release(): Promise<void> {
    await this.db.idle()
    await this.#release()
  }

  /** After a failure: lets go of what is still held; without a checkpoint there is nothing to keep. */
  async releaseOrRemove(): Promise<void> {
    if (this.#ended) return
    await (this.db.saved === null ? this.remove() : this.release())
  }

  /** Moves the upload to the quarantine and ends the claim; the error says where it is. */
  async quarantine(cause: Error): Promise<SpoolError> {
    await this.db.idle()
    let where: string
    try {
      where = await this.#record.quarantine()
    } finally {
      await this.#release()
    }
    const message = `Upload ${this.id} is damaged: ${cause.message}; it was moved to ${where}`
    return new SpoolError('ERR_SPOOL_CORRUPT', message, { id: this.id, cause })
  }

  /** Once, as `Lock.release`. */
  async #release(): Promise<void> {
    if (this.#ended) return
    this.#ended = true
    await this.#record.release()
  }

  /** `undefined`: the directory or its owner went away while we looked. */
  static async #lockAndRead(records: RecordStore, id: string): Promise<Claim | undefined> {
    const directory = records.directoryOf(id)
    const held = await records.lock(id).catch(async (error: unknown) => {
      if (error instanceof SpoolError) throw error
      // Only the lock is out of reach: what is sealed can be finished once it is mended.
      const checkpoint = await records.read(id).catch(() => null)
      throw toUnreadableError(
        id,
        error,
        checkpoint !== null && finishableSlot(checkpoint) !== undefined,
      )
    })
    if (held === 'gone') return undefined
    if (held === 'owned') {
      const letGo = releasing.get(directory)
      if (letGo !== undefined) {
        await letGo
        return undefined
      }
      const owner = await records.owner(id)
      const by = owner === undefined ? 'another process' : `process ${owner.pid} on ${owner.host}`
      throw new SpoolError('ERR_SPOOL_LOCKED', `Upload ${id} is owned by ${by}`, {
        id,
        resumable: true,
        host: owner?.host,
      })
    }
    const store = new CheckpointDb(held)
    const claimed = (bereft: boolean): Claim => new Claim(id, directory, held, store, bereft)
    try {
      const checkpoint = await store.read()
      if (checkpoint !== null && checkpoint.id !== id) {
        // The same directory to a file system that does not tell the case of letters.
        if (checkpoint.id.toLowerCase() === id.toLowerCase()) throw idTakenError(id, checkpoint)
        throw new CheckpointDamagedError(`its checkpoint is that of ${checkpoint.id}`)
      }
      if (checkpoint === null) return claimed(false)
      const where = await held.locateBytes(checkpoint)
      if (where === 'elsewhere' && needsBytes(checkpoint)) throw bytesElsewhereError(checkpoint)
      return claimed(where !== 'here')
    } catch (error) {
      const claim = claimed(false)
      if (error instanceof CheckpointDamagedError) throw await claim.quarantine(error)
      await claim.release()
      throw toUnreadableError(id, error)
    }
  }
}

/** Whether what is in the temp file may still be read: else any host can begin with the source. */
function needsBytes(checkpoint: Checkpoint): boolean {
  const { upload } = checkpoint
  return (
    finishableSlot(checkpoint) !== undefined ||
    (upload.phase === 'spooling' && upload.replay === 'offset')
  )
}

/** Its owner is the host that has its bytes: that one finishes it, unless it is gone. */
function bytesElsewhereError({ id, host }: Checkpoint): SpoolError {
  const message = `The bytes of upload ${id} are on host ${host}, which is not declared gone`
  const hint = `Finish it on ${host}; if that host does not come back, declare it gone and run the source again.`
  return new SpoolError('ERR_SPOOL_LOCKED', message, { id, resumable: true, host, hint })
}

function idTakenError(id: string, { id: other, bucket, key }: Checkpoint): SpoolError {
  const message = `The id ${id} is taken: ${other} belongs to oss://${bucket}/${key}`
  return new SpoolError('ERR_SPOOL_ID_IN_USE', message, { id: other })
}

/** What cannot be read is not damaged: it stays where it is and is reported (rule 10). */
export function toUnreadableError(id: string, error: unknown, resumable = false): unknown {
  // A full disk is another matter, and so are too many open files: they say nothing about what is there.
  const passing = isSystemError(error, 'ENOSPC', 'EDQUOT', 'EMFILE', 'ENFILE')
  const refused = error instanceof Error && 'syscall' in error && !passing
  if (error instanceof LaterFormatError || error instanceof UntrustedFileError || refused) {
    const message = `Upload ${id} cannot be read now: ${error.message}`
    return new SpoolError('ERR_SPOOL_UNREADABLE', message, { id, resumable, cause: error })
  }
  return error
}
