/**
 * A claim: the lock of one upload, held by this process, and its checkpoint. Every change in an upload's
 * directory requires its claim. Reading the checkpoint does not, since it is replaced atomically.
 */
import { unlink } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { SpoolError } from '../errors.js'
import {
  CheckpointDamagedError,
  resumableSlot,
  LaterFormatError,
  type Checkpoint,
} from './checkpoint.js'
import { ignoreMissing, isSystemError } from './durable-fs.js'
import type { Owner } from './lock.js'
import { notFoundError } from './quarantined-upload.js'
import type { LockedRecord, RecordStore } from './record-store.js'
import { CheckpointDb } from './checkpoint-db.js'
import { UntrustedFileError } from './trusted-files.js'
import { isError } from '../util/error-shape.js'

/** Directories of the uploads that this thread holds. Other threads of the process have their own. */
const held = new Set<string>()

/** Claims of this process that are being released, by directory. */
const releasing = new Map<string, Promise<void>>()

/**
 * Announces that this process is releasing its claim on `directory`. `pipeline()` rejects before its sink has
 * closed (Node 20), so the next attempt in this process waits for the release instead of failing.
 */
export function announceRelease(directory: string, ended: Promise<void>): void {
  const pending = ended.finally(() => {
    if (releasing.get(directory) === pending) releasing.delete(directory)
  })
  releasing.set(directory, pending)
}

/** Resolves when all announced releases of this process are done. */
export async function waitForReleases(): Promise<void> {
  await Promise.all(releasing.values())
}

export class Claim {
  readonly id: string
  readonly directory: string
  /**
   * The temp file is permanently unavailable (its host is gone), so the source is needed again. Only the
   * record remains, and only the takeover may change it.
   */
  readonly bytesLost: boolean
  /** The store of this record and of all others. */
  readonly records: RecordStore
  readonly #record: LockedRecord
  /** The checkpoint and its writes. */
  readonly db: CheckpointDb
  #ended = false

  private constructor(
    id: string,
    records: RecordStore,
    record: LockedRecord,
    db: CheckpointDb,
    bytesLost: boolean,
  ) {
    this.id = id
    this.records = records
    this.directory = records.directoryOf(id)
    this.bytesLost = bytesLost
    this.#record = record
    this.db = db
  }

  /**
   * Locks upload `id`, creating its directory if there is none, and reads its checkpoint.
   * @throws SpoolError `ERR_SPOOL_LOCKED`, also if another host has its bytes; `ERR_SPOOL_CORRUPT` after a
   * damaged upload was quarantined; `ERR_SPOOL_UNREADABLE` if it cannot be read and was left unchanged
   */
  static async acquire(records: RecordStore, id: string): Promise<Claim> {
    for (;;) {
      await records.prepare(id)
      const claim = await Claim.#lockAndRead(records, id)
      if (claim !== undefined) return claim
    }
  }

  /** Like `acquire`, for an existing upload. @throws SpoolError also `ERR_SPOOL_NOT_FOUND` */
  static acquireExisting(
    records: RecordStore,
    id: string,
  ): Promise<Claim & { checkpoint: Checkpoint }> {
    return Claim.#acquireExisting(records, id, needsBytes)
  }

  /** Like `acquireExisting`, for aborting: the bytes may be on another host, which finds them without a record. */
  static acquireForAbort(
    records: RecordStore,
    id: string,
  ): Promise<Claim & { checkpoint: Checkpoint }> {
    return Claim.#acquireExisting(records, id, () => false)
  }

  static async #acquireExisting(
    records: RecordStore,
    id: string,
    requiresBytes: (checkpoint: Checkpoint) => boolean,
  ): Promise<Claim & { checkpoint: Checkpoint }> {
    let claim: Claim | undefined
    while (claim === undefined) {
      const exists = await records.has(id).catch((error: unknown) => {
        throw toUnreadableError(id, error)
      })
      if (!exists) throw await notFoundError(records, id)
      claim = await Claim.#lockAndRead(records, id, requiresBytes)
    }
    if (claim.checkpoint === null) {
      await claim.remove() // left by a crash before the first checkpoint
      throw await notFoundError(records, id)
    }
    // `null` was excluded above.
    return claim as Claim & { checkpoint: Checkpoint }
  }

  /** Host whose disk the bytes go to, if records are shared. */
  get host(): string | undefined {
    return this.#record.host
  }

  /** Aborted when the lock is lost to another owner; the reason is a `SpoolError`. */
  get lockLost(): AbortSignal | undefined {
    return this.#record.lockLost
  }

  /** The checkpoint on disk, or the one that the latest pending write will put there. */
  get checkpoint(): Checkpoint | null {
    return this.db.checkpoint
  }

  /** Removes a temp file that the checkpoint no longer names. */
  async removeFile(name: string): Promise<void> {
    await unlink(join(this.directory, name)).catch(ignoreMissing)
  }

  /** Removes all files except those named. Must not run while anything else is being written. */
  async removeOtherFiles(named: readonly string[]): Promise<void> {
    await this.#record.removeOtherFiles(named)
  }

  /**
   * Removes the upload, bytes and record, then releases the lock.
   * @returns why some of its files are left to the next sweep; usually `undefined`
   */
  async remove(): Promise<Error | undefined> {
    await this.db.idle()
    const { checkpoint } = this
    try {
      const cause = await this.#record.remove()
      if (checkpoint?.movedFrom === undefined) return cause
      // Without its record, the note says nothing, and the next sweep removes it.
      await this.records.forgetMoves(this.id).catch(() => undefined)
      return cause
    } finally {
      await this.#release()
    }
  }

  /** Releases the lock and leaves the upload unchanged for the next owner. */
  async release(): Promise<void> {
    await this.db.idle()
    await this.#release()
  }

  /** Ends the claim after a failure, unless it has ended. Without a checkpoint there is nothing to keep. */
  async releaseOrRemove(): Promise<void> {
    if (this.#ended) return
    await (this.db.saved === null ? this.remove() : this.release())
  }

  /**
   * Quarantines the upload and ends the claim. Resolves with the error to throw, which names the new path.
   */
  async quarantine(cause: Error): Promise<SpoolError> {
    await this.db.idle()
    let where: string
    try {
      where = await this.#record.quarantine()
    } finally {
      await this.#release()
    }
    const message = `Upload ${this.id} is damaged: ${cause.message}. It was moved to ${where}`
    return new SpoolError('ERR_SPOOL_CORRUPT', message, { id: this.id, cause })
  }

  /** Releases once, like `Lock.release`. */
  async #release(): Promise<void> {
    if (this.#ended) return
    this.#ended = true
    await this.#record.release()
    held.delete(this.directory)
  }

  /**
   * Returns `undefined` if the directory or its owner disappeared meanwhile: the caller retries.
   * @param requiresBytes – whether bytes on another host, which is alive, make this host the wrong one
   */
  static async #lockAndRead(
    records: RecordStore,
    id: string,
    requiresBytes: (checkpoint: Checkpoint) => boolean = needsBytes,
  ): Promise<Claim | undefined> {
    const directory = records.directoryOf(id)
    const record = await records.lock(id).catch(async (error: unknown) => {
      if (error instanceof SpoolError) throw error
      // Only the lock is inaccessible: a sealed upload can be finished once that is fixed.
      const checkpoint = await records.read(id).catch(() => null)
      throw toUnreadableError(
        id,
        error,
        checkpoint !== null && resumableSlot(checkpoint) !== undefined,
      )
    })
    if (record === 'gone') return undefined
    if (record === 'owned') {
      const pending = releasing.get(directory)
      if (pending !== undefined) {
        await pending
        return undefined
      }
      throw lockedError(id, await records.owner(id), held.has(directory))
    }
    held.add(directory)
    const db = new CheckpointDb(record)
    const createClaim = (bytesLost: boolean): Claim => new Claim(id, records, record, db, bytesLost)
    try {
      const checkpoint = await db.read()
      if (checkpoint !== null && checkpoint.id !== id) {
        // On a case-insensitive file system, both ids have the same directory.
        if (checkpoint.id.toLowerCase() === id.toLowerCase()) throw idTakenError(id, checkpoint)
        throw new CheckpointDamagedError(`the checkpoint belongs to upload ${checkpoint.id}`)
      }
      if (checkpoint === null) return createClaim(false)
      await record.makeDurable?.()
      const where = await record.locateBytes(checkpoint)
      if (where === 'elsewhere' && requiresBytes(checkpoint)) throw bytesElsewhereError(checkpoint)
      return createClaim(where !== 'here')
    } catch (error) {
      const claim = createClaim(false)
      if (error instanceof CheckpointDamagedError) throw await claim.quarantine(error)
      await claim.release()
      throw toUnreadableError(id, error)
    }
  }
}

/** @param isHeldHere – this thread owns it: there are two uploads of one id in the same program */
function lockedError(id: string, owner: Owner | undefined, isHeldHere: boolean): SpoolError {
  const details = { id, resumable: true, host: owner?.host }
  const processText =
    owner === undefined ? 'another process' : `process ${owner.pid} on ${owner.host}`
  const hasOurPid = owner?.pid === process.pid && owner.host === hostname()
  if (!isHeldHere && !hasOurPid) {
    return new SpoolError('ERR_SPOOL_LOCKED', `Upload ${id} is owned by ${processText}`, details)
  }
  const by = isHeldHere
    ? `this process itself (${process.pid})`
    : `${processText}, which is another thread of this process or a process with the same number in another container`
  return new SpoolError('ERR_SPOOL_LOCKED', `Upload ${id} is owned by ${by}`, {
    ...details,
    hint: say =>
      `Wait for the result of the first upload before you start the next one, or give it another ${say.option('id')}.`,
  })
}

/** Returns whether the temp file may still be needed. If not, any host can start over from the source. */
function needsBytes(checkpoint: Checkpoint): boolean {
  const { upload } = checkpoint
  return (
    resumableSlot(checkpoint) !== undefined ||
    (upload.phase === 'spooling' && upload.replay === 'offset')
  )
}

/** The host that has the bytes must finish the upload, unless it is gone. */
function bytesElsewhereError({ id, host }: Checkpoint): SpoolError {
  const message = `Upload ${id} is stored on host ${host}, which is still alive`
  const hint = `Resume it or run it again on ${host}. If the disk of that host is lost, call declareGone('${host}') of your checkpoint store, then upload again from the source.`
  return new SpoolError('ERR_SPOOL_LOCKED', message, { id, resumable: true, host, hint })
}

function idTakenError(id: string, { id: other, bucket, key }: Checkpoint): SpoolError {
  const message = `The id ${id} is in use: upload ${other} belongs to oss://${bucket}/${key}`
  return new SpoolError('ERR_SPOOL_ID_IN_USE', message, { id: other })
}

/** Wraps read errors. An unreadable upload is not damaged: it is left unchanged and reported (rule 10). */
export function toUnreadableError(id: string, error: unknown, resumable = false): unknown {
  // A full disk and too many open files are unrelated to the upload's files.
  const isTransient = isSystemError(error, 'ENOSPC', 'EDQUOT', 'EMFILE', 'ENFILE')
  const isAccessError = isError(error) && 'syscall' in error && !isTransient
  if (error instanceof LaterFormatError || error instanceof UntrustedFileError || isAccessError) {
    const message = `Upload ${id} cannot be read: ${error.message}`
    return new SpoolError('ERR_SPOOL_UNREADABLE', message, { id, resumable, cause: error })
  }
  return error
}
