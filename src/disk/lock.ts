/**
 * The lock of one upload: a kernel lock (OFD `fcntl`, `flock` or `LockFileEx`, depending on the platform) on
 * `lock` in its directory. The kernel releases it as soon as its owner dies and keeps it while the owner is
 * frozen; two owners in one process exclude each other as well (rule 9). The file's content names the owner
 * and is only informational.
 */
import * as fs from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { tryLock, unlock } from 'fs-native-extensions'
import { isSystemError, systemErrorCode } from './durable-fs.js'
import { checkDirectory, checkOpenFile, NOFOLLOW_NONBLOCK } from './trusted-files.js'

/** The process that holds the lock of an upload. */
export interface Owner {
  readonly pid: number
  readonly host: string
}

const { O_CREAT, O_RDONLY, O_RDWR } = fs.constants
const open = promisify(fs.open)

const LOCK_FILE = 'lock'

/** More than one, since a probe by `ownerOf` may hold the lock for some microseconds. */
const MAX_ATTEMPTS = 4
const RETRY_DELAY_MS = 10

/** In bytes; a host name has at most 255. */
const MAX_OWNER_BYTES = 512

export class Lock {
  readonly #file: number
  #released = false

  private constructor(file: number) {
    this.#file = file
  }

  /**
   * Locks the upload in `directory`, which must exist.
   * @returns the lock; `'owned'` if it is already held; `'gone'` if the directory was renamed or removed
   * meanwhile, in which case the caller should check again
   */
  static async acquire(directory: string): Promise<Lock | 'owned' | 'gone'> {
    const path = join(directory, LOCK_FILE)
    let file: number
    try {
      if (!checkDirectory(directory)) return 'gone'
      file = await open(path, O_RDWR | O_CREAT | NOFOLLOW_NONBLOCK, 0o600)
    } catch (error) {
      if (isSystemError(error, 'ENOENT')) return 'gone'
      throw error
    }
    try {
      checkOpenFile(file, path)
      for (let i = 1; !tryLock(file); i++) {
        // The owner may be removing the upload; then the file at the path is another one, or none.
        if (i === MAX_ATTEMPTS)
          return closeAndReturn(file, statIfAtPath(file, path) === undefined ? 'gone' : 'owned')
        await new Promise(resolve => setTimeout(resolve, RETRY_DELAY_MS))
      }
      // A lock on a file that is no longer at its path protects nothing.
      const found = statIfAtPath(file, path)
      if (found === undefined) return closeAndReturn(file, 'gone')
      writeOwner(file, Number(found.size))
      return new Lock(file)
    } catch (error) {
      fs.closeSync(file)
      throw error
    }
  }

  /** Returns whether this lock is on the file in `directory`, which may have been replaced meanwhile. */
  isIn(directory: { entry(name: string): string }): boolean {
    return statIfAtPath(this.#file, directory.entry(LOCK_FILE)) !== undefined
  }

  /** Releases the lock, once: the number of a closed descriptor is soon reused. */
  release(): void {
    if (this.#released) return
    this.#released = true
    fs.closeSync(this.#file)
  }
}

/** Returns the live owner of the upload in `directory`, if any. */
export async function ownerOf(directory: string): Promise<Owner | undefined> {
  const path = join(directory, LOCK_FILE)
  let file: number
  try {
    file = await open(path, O_RDONLY | NOFOLLOW_NONBLOCK)
  } catch (error) {
    if (isSystemError(error, 'ENOENT')) return undefined
    throw error
  }
  try {
    checkOpenFile(file, path)
    if (tryLock(file, { shared: true })) {
      unlock(file)
      return undefined
    }
    const text = Buffer.alloc(MAX_OWNER_BYTES)
    return parseOwner(text.toString('utf8', 0, fs.readSync(file, text, 0, MAX_OWNER_BYTES, 0)))
  } finally {
    fs.closeSync(file)
  }
}

/** Writes the informational owner. A failing disk is ignored: uploads must still be finished or aborted then. */
function writeOwner(file: number, size: number): void {
  const owner: Owner = { pid: process.pid, host: hostname() }
  const text = JSON.stringify(owner)
  try {
    fs.writeSync(file, text, 0) // overwrites the previous owner, whose block is already allocated
    const length = Buffer.byteLength(text)
    if (size > length) fs.ftruncateSync(file, length)
  } catch (error) {
    if (systemErrorCode(error) === undefined) throw error
  }
}

function parseOwner(text: string): Owner {
  const match = /^\{"pid":(\d+),"host":"([^"\\]*)"\}$/.exec(text)
  return { pid: Number(match?.[1] ?? 0), host: match?.[2] ?? 'unknown' }
}

/** Returns the stats of the open file, or `undefined` if it is no longer at `path`. */
function statIfAtPath(file: number, path: string): fs.BigIntStats | undefined {
  const opened = fs.fstatSync(file, { bigint: true })
  const there = fs.lstatSync(path, { bigint: true, throwIfNoEntry: false })
  return opened.ino === there?.ino && opened.dev === there.dev ? opened : undefined
}

function closeAndReturn<T>(file: number, result: T): T {
  fs.closeSync(file)
  return result
}
