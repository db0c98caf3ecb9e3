/**
 * The spool directory: one directory per upload, named by its id, `quarantine/`, and `.moved/` with notes of
 * uploads that were moved to another key. Removing an upload first
 * renames its directory to a name with a leading dot (no id has one), so that any process recognises the
 * leftovers of a killed removal.
 */
import { closeSync, constants, openSync, readFileSync } from 'node:fs'
import { createHash } from 'node:crypto'
import { lstat, mkdir, readdir, rename, rmdir, stat, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { SpoolError } from '../errors.js'
import { toError } from '../util/error-shape.js'
import { mapLimit } from '../util/map-limit.js'
import { makeDirectories } from '../util/make-directories.js'
import { quoteHarmless } from '../util/secret-mask.js'
import {
  ignoreMissing,
  isSystemError,
  makeDirectory,
  randomSuffix,
  syncDirectory,
} from './durable-fs.js'
import { Coalescer } from '../util/coalesce.js'
import type { ObjectAddress } from './checkpoint.js'
import { isProbe } from './probe-file.js'
import {
  checkDirectory,
  isTrustedDirectory,
  openRegularFile,
  UntrustedFileError,
} from './trusted-files.js'
import { OpenDirectory } from './open-directory.js'

export const QUARANTINE = 'quarantine'
export const CHECKPOINT_FILE = 'checkpoint.json'

/** Has an empty file `<name of the object>.<id>` for each upload that was moved, or is about to be. */
const MOVED = '.moved'
const NOTE = /^[0-9a-f]{40}\../

/** For `open`: follow no link. */
const NEW_FILE = constants.O_CREAT | constants.O_WRONLY | constants.O_NOFOLLOW

/** Valid ids. Other directories are not ours, wherever the spool directory is. */
const ID = /^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}$/
/** Names of uploads that are being removed: the id, and a digest of the record. */
const REMOVED_NAME = /^\.removed-([A-Za-z0-9_-][A-Za-z0-9._-]{0,127})-([0-9a-f]{12})$/
/** Names of the files in an upload's directory. Those with the bytes contain the host if records are shared. */
const UPLOAD_FILE =
  /^(lock|checkpoint\.json(\..+\.tmp)?|spool-([A-Za-z0-9._-]+-)?\d+-[A-Za-z0-9]+)$/
/** Names of those files if the record is in the directory, too. */
const LOCAL_UPLOAD_FILE =
  /^(lock|checkpoint\.json(\..+\.tmp)?|spool-(link-\d+-\d+-)?\d+-[A-Za-z0-9]+)$/

/** An upload with the name of a removed one, which its owner did not give it. */
export interface RenamedUpload {
  readonly id: string
  readonly path: string
}

/** The lock of an upload: proves that a directory is the one that was locked. */
interface DirectoryLock {
  isIn(directory: OpenDirectory): boolean
}

/** Directories read concurrently: each read waits for the system and needs little CPU. */
export const LIST_CONCURRENCY = 16

export class SpoolDirectory {
  readonly path: string
  /** Shares one sync among uploads that start at the same time. */
  readonly #directorySync = new Coalescer(() => syncDirectory(this.path))

  constructor(path: string) {
    this.path = path
  }

  /**
   * Returns the directory of an upload.
   * @throws TypeError if the id is invalid, as no path may lead outside
   */
  directoryOf(id: string): string {
    if (!ID.test(id)) throw new TypeError(`Invalid upload id ${quoteHarmless(id)}`)
    return join(this.path, id)
  }

  checkpointPath(id: string): string {
    return join(this.directoryOf(id), CHECKPOINT_FILE)
  }

  /** Creates the directory of `id`. Resolves when it is durable, with `false` if it existed already. */
  async create(id: string): Promise<boolean> {
    const make = () => mkdir(this.directoryOf(id), { mode: 0o700 })
    const made = await make()
      .catch(async (error: unknown) => {
        if (!isSystemError(error, 'ENOENT')) throw error
        await makeDirectory(this.path)
        await make()
      })
      .then(
        () => true,
        (error: unknown) => {
          if (isSystemError(error, 'EEXIST')) return false
          throw error
        },
      )
    // Needed also if it existed: its creator may have died before this line.
    await this.#directorySync.run()
    return made
  }

  /** Like `create`, for a starting upload. @throws SpoolError if the directory is not an upload's */
  async prepare(id: string): Promise<void> {
    if (!(await this.create(id))) await this.checkOwn(id)
  }

  /** @throws SpoolError if `isForeign(id)` */
  async checkOwn(id: string): Promise<void> {
    if (!(await this.isForeign(id))) return
    const message = `${this.directoryOf(id)} contains files that do not belong to ${this.uploadText}`
    const hint = 'Use another id or another spool directory.'
    throw new SpoolError('ERR_SPOOL_UNREADABLE', message, { id, hint })
  }

  /** Returns the ids of all directories that may contain an upload and that `select` accepts, sorted. */
  async ids(select: (id: string) => boolean = () => true): Promise<string[]> {
    const names = (await this.#directories(this.path)).filter(name => isId(name) && select(name))
    const foreign = await mapLimit(LIST_CONCURRENCY, names, name => this.isForeign(name))
    return names.filter((_, i) => !foreign[i])
  }

  /** Returns whether `ids()` contains `id`, without reading other directories. */
  async has(id: string): Promise<boolean> {
    if (!isId(id)) return false
    const stats = await lstat(join(this.path, id)).catch(ignoreMissing)
    return stats?.isDirectory() === true && !(await this.isForeign(id))
  }

  /**
   * Returns whether a directory has other content than an upload's, since the spool directory may be shared
   * with other programs, and with a fleet. Such a directory is never locked, cleaned up, moved or removed. An
   * unreadable one counts as an upload.
   */
  async isForeign(id: string): Promise<boolean> {
    const names = await readdir(this.directoryOf(id)).catch((): string[] => [])
    return this.hasForeignFile(names)
  }

  /** Describes, in an error, the uploads that this directory is for. */
  protected get uploadText(): string {
    return 'an upload whose record is there'
  }

  protected hasForeignFile(names: readonly string[]): boolean {
    const complete = names.includes('lock') && names.includes(CHECKPOINT_FILE)
    return !complete && names.some(name => !LOCAL_UPLOAD_FILE.test(name))
  }

  /**
   * Removes an upload whose lock the caller holds: temp files first, checkpoint last (rule 6).
   * @returns why some of its files could not be removed, which is left to the next sweep; usually `undefined`
   */
  async remove(id: string, lock?: DirectoryLock): Promise<Error | undefined> {
    const directory = this.#openUpload(id, lock)
    try {
      const names = directory.checkEntries()
      const record = readRecord(directory)
      // Without a record, a sweep could not tell that these bytes are to be removed. The lock stays held.
      if (record === undefined)
        for (const name of otherFiles(names, [])) await directory.remove(name)
      // Only those who can read the record know its digest: a rename by another user is no removal.
      const suffix = record === undefined ? randomSuffix() : shortDigest(record)
      const removed = join(this.path, `.removed-${id}-${suffix}`)
      await directory.moveTo(removed)
      // Otherwise, a power cut could bring back the upload without its bytes.
      await this.#directorySync.run().catch(() => undefined)
      // The sweep of another process may be removing it, too.
      return await removeUpload(directory, names, removed)
        .catch(ignoreMissing)
        .then(() => undefined, toError)
    } finally {
      directory.close()
    }
  }

  /** Opens the directory of an upload. @throws UntrustedFileError if it is not the one that `lock` is in */
  #openUpload(id: string, lock: DirectoryLock | undefined): OpenDirectory {
    const path = this.directoryOf(id)
    const directory = OpenDirectory.open(path)
    if (lock === undefined || lock.isIn(directory)) return directory
    directory.close()
    throw new UntrustedFileError(`${path} was replaced by another directory`)
  }

  /**
   * Quarantines an upload whose lock the caller holds. Resolves with its new path.
   * @param name – its name in the quarantine
   */
  async quarantine(id: string, name = quarantineName(id)): Promise<string> {
    const folder = join(this.path, QUARANTINE)
    await makeDirectories(folder)
    checkDirectory(folder)
    const path = join(folder, name)
    await rename(this.directoryOf(id), path)
    await syncDirectory(folder)
    await syncDirectory(this.path)
    return path
  }

  /** Returns the quarantined uploads, and when they were quarantined (ms since 1970). */
  async quarantined(): Promise<{ name: string; path: string; since: number }[]> {
    const folder = join(this.path, QUARANTINE)
    const found = []
    if (!isTrustedDirectory(folder)) return []
    for (const name of await this.#directories(folder)) {
      const path = join(folder, name)
      const stats = await stat(path).catch(ignoreMissing) // pruned by another process meanwhile
      if (stats !== undefined) found.push({ name, path, since: stats.ctimeMs })
    }
    return found
  }

  /** @throws TypeError if `name` could lead outside */
  async discardQuarantined(name: string): Promise<void> {
    if (!isFileName(name)) throw new TypeError(`Invalid name ${quoteHarmless(name)}`)
    try {
      const folder = OpenDirectory.open(join(this.path, QUARANTINE))
      try {
        await folder.remove(name)
      } finally {
        folder.close()
      }
    } catch (error) {
      if (isSystemError(error, 'ENOENT')) return
      if (!(error instanceof UntrustedFileError)) throw error
      throw new SpoolError('ERR_SPOOL_UNREADABLE', `${error.message}; it was not removed`, {
        cause: error,
      })
    }
  }

  async noteMove(object: ObjectAddress, id: string): Promise<void> {
    const folder = join(this.path, MOVED)
    for (let attempt = 1; ; attempt++) {
      try {
        await makeDirectory(folder)
        checkDirectory(folder)
        closeSync(openSync(join(folder, noteName(object, id)), NEW_FILE, 0o600))
        await syncDirectory(folder)
        return await syncDirectory(this.path) // its creator may have died before it was durable
      } catch (error) {
        // Another process may have removed the empty folder meanwhile.
        if (!isSystemError(error, 'ENOENT') || attempt === 3) throw toMovedError(folder, error)
      }
    }
  }

  async forgetMoves(id: string, except?: ObjectAddress): Promise<void> {
    for (const name of await this.#notes()) {
      const isKept = except !== undefined && name === noteName(except, id)
      if (idOfNote(name) === id && !isKept) await this.#removeNote(name)
    }
  }

  async movesTo(object: ObjectAddress): Promise<string[]> {
    return idsOfNotes(await this.#notes(), object)
  }

  /** Notes are read, and removed, only where nobody else could have put other files. */
  async #notes(): Promise<string[]> {
    const folder = join(this.path, MOVED)
    if (!isTrustedDirectory(folder)) return []
    const names = await readdir(folder).catch((error: unknown) => {
      if (isSystemError(error, 'ENOENT')) return []
      throw toMovedError(folder, error)
    })
    return names.filter(name => NOTE.test(name))
  }

  async #removeNote(name: string): Promise<void> {
    const folder = join(this.path, MOVED)
    await unlink(join(folder, name)).catch(ignoreMissing)
    await rmdir(folder).catch(() => undefined) // it has other notes
  }

  /**
   * Removes the leftovers of interrupted removals and probes, and notes of uploads that are gone.
   * @returns the uploads that were given such a name by someone else, and were left unchanged
   */
  async sweep(): Promise<RenamedUpload[]> {
    const names = await readdir(this.path).catch(ignoreMissing)
    const renamed: RenamedUpload[] = []
    for (const name of names ?? []) {
      // A failure is harmless: the next sweep retries.
      const path = join(this.path, name)
      if (isProbe(name)) await unlink(path).catch(() => undefined)
      const [, id, digest] = REMOVED_NAME.exec(name) ?? []
      if (id === undefined) continue
      if (!(await sweepRemoved(path, digest).catch(() => true))) renamed.push({ id, path })
    }
    if (names?.includes(MOVED) === true) await this.sweepNotes()
    return renamed
  }

  protected async sweepNotes(): Promise<void> {
    for (const name of await this.#notes().catch((): string[] => [])) {
      // The directory of an upload exists before its note.
      const id = idOfNote(name)
      if (isId(id) && !(await this.has(id))) await this.#removeNote(name).catch(() => undefined)
    }
    await rmdir(join(this.path, MOVED)).catch(() => undefined) // it has other notes
  }

  /** Removes the files of an upload except those named. The caller holds its lock. */
  async removeOtherFiles(
    id: string,
    named: readonly string[],
    lock?: DirectoryLock,
  ): Promise<void> {
    const directory = this.#openUpload(id, lock)
    try {
      for (const name of otherFiles(directory.names(), named)) await directory.remove(name)
    } finally {
      directory.close()
    }
  }

  /** Returns whether an upload has files other than its record and lock. */
  async hasBytes(id: string): Promise<boolean> {
    const files = await readdir(this.directoryOf(id)).catch(ignoreMissing)
    return files !== undefined && otherFiles(files, []).length > 0
  }

  async #directories(path: string): Promise<string[]> {
    const entries = await readdir(path, { withFileTypes: true }).catch((error: unknown) => {
      if (isSystemError(error, 'ENOENT')) return []
      throw error
    })
    return entries
      .filter(entry => entry.isDirectory())
      .map(entry => entry.name)
      .toSorted()
  }
}

/** The folder of notes belongs to root if root moved an upload first, and is then closed to this user. */
function toMovedError(folder: string, error: unknown): unknown {
  if (!isSystemError(error, 'EACCES', 'EPERM') && !(error instanceof UntrustedFileError))
    return error
  const message = `The notes of moved uploads in ${folder} cannot be used by this user: ${error.message}`
  const hint = `Give ${folder} to the owner of the spool directory, then repeat the call.`
  return new SpoolError('ERR_SPOOL_UNREADABLE', message, { hint, cause: error })
}

/** Returns the name under which an upload is quarantined now. */
export function quarantineName(id: string): string {
  return `${id}-${new Date().toISOString().replaceAll(':', '-')}`
}

/** Returns the name of the note that `id` is bound for `object`: a hash of the object, and the id. */
export function noteName(object: ObjectAddress, id: string): string {
  return `${objectName(object)}.${id}`
}

/** Returns the id in the name of a note. */
export function idOfNote(name: string): string {
  return name.slice(name.indexOf('.') + 1)
}

/** Returns the ids of those notes that are of `object`. */
export function idsOfNotes(names: readonly string[], object: ObjectAddress): string[] {
  return names
    .filter(name => name.startsWith(noteName(object, '')))
    .map(idOfNote)
    .filter(isId)
}

function objectName({ endpoint, bucket, key }: ObjectAddress): string {
  const text = JSON.stringify([endpoint, bucket, key])
  return createHash('sha256').update(text).digest('hex').slice(0, 40)
}

export function renamedUploadWarning({ id, path }: RenamedUpload): string {
  return `${path} has the name of a removed upload, but its owner did not remove it. It was left unchanged. Rename it to ${id} to resume it, or delete it`
}

/** Returns whether `name` can be the id of an upload. */
export function isId(name: string): boolean {
  return ID.test(name) && name !== QUARANTINE
}

/** Returns whether `name` is one of an entry of a directory, and so leads to no other one. */
export function isFileName(name: string): boolean {
  return /^[^/\0]+$/.test(name) && name !== '.' && name !== '..'
}

/**
 * Returns whether `name` can be in the directory of an upload whose record is elsewhere: the lock, or bytes with
 * a host in their name. Earlier versions gave links no host.
 */
export function isSharedUploadFile(name: string): boolean {
  if (name === 'lock' || name.startsWith('spool-link-')) return true
  return UPLOAD_FILE.test(name) && !LOCAL_UPLOAD_FILE.test(name)
}

/** Returns the names of an upload's files except its record, its lock and those named. */
function otherFiles(files: readonly string[], named: readonly string[]): string[] {
  const keep = new Set([...named, 'lock', CHECKPOINT_FILE])
  return files.filter(file => UPLOAD_FILE.test(file) && !keep.has(file))
}

function shortDigest(record: Buffer): string {
  return createHash('sha256').update(record).digest('hex').slice(0, 12)
}

/** Returns the bytes of an upload's record, if it has one. @throws UntrustedFileError */
function readRecord(directory: OpenDirectory): Buffer | undefined {
  let file: number
  try {
    ;({ file } = openRegularFile(directory.entry(CHECKPOINT_FILE)))
  } catch (error) {
    if (isSystemError(error, 'ENOENT')) return undefined
    throw error
  }
  try {
    return readFileSync(file)
  } finally {
    closeSync(file)
  }
}

/** Finishes an interrupted removal. Resolves with `false` if its owner began none, and leaves it unchanged. */
async function sweepRemoved(path: string, digest: string | undefined): Promise<boolean> {
  const directory = OpenDirectory.open(path)
  try {
    // Before the names are read, since the record is removed last.
    const record = readRecord(directory)
    const names = directory.names()
    const isOurs =
      record === undefined ? names.every(name => name === 'lock') : shortDigest(record) === digest
    if (isOurs) await removeUpload(directory, names, path)
    return isOurs
  } finally {
    directory.close()
  }
}

/**
 * Removes the files of an opened upload, the checkpoint last, then the empty directory at `path`.
 * @param names – all its files; one that was added meanwhile is left to the next sweep
 */
async function removeUpload(
  directory: OpenDirectory,
  names: readonly string[],
  path: string,
): Promise<void> {
  const others = names.filter(name => name !== CHECKPOINT_FILE)
  for (const name of others) await directory.remove(name)
  if (names.length > others.length) await directory.remove(CHECKPOINT_FILE)
  await rmdir(path)
}
