/**
 * The lock of one upload: a kernel lock (OFD `fcntl`, `flock` or `LockFileEx`, by the platform) on
 * `lock` in its directory. The kernel frees it the moment its owner dies and keeps it while the
 * owner is frozen; two owners in one process exclude each other, too (rule 9). The file's content
 * names the owner for people and decides nothing.
 */
import * as fs from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { tryLock, unlock } from 'fs-native-extensions'
import { isSystemError } from './durable-fs.js'
import { checkDirectory, NOFOLLOW_NONBLOCK, UntrustedFileError } from './ownership.js'

/** Who works on an upload. */
export interface Owner {
  readonly pid: number
  readonly host: string
}

const { O_CREAT, O_RDONLY, O_RDWR } = fs.constants
const open = promisify(fs.open)

const LOCK_FILE = 'lock'

/** A probe by `ownerOf` holds the lock for some microseconds: not a reason to give up. */
const MAX_ATTEMPTS = 4
const RETRY_DELAY_MS = 10

/** Bytes; a host's name has at most 255. */
const MAX_OWNER_BYTES = 512

export class Lock {
  readonly #file: number
  #released = false

  private constructor(file: number) {
    this.#file = file
  }

  /**
   * Locks the upload in `directory`, which must exist.
   * @returns the lock, or `'owned'` when another one has it, or `'gone'` when the directory was
   * renamed away or removed meanwhile: the caller looks again.
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
      if (!fs.fstatSync(file).isFile()) throw new UntrustedFileError(`${path} is not a plain file`)
      for (let i = 1; !tryLock(file); i++) {
        // Whoever has it may be removing the upload: then it is not this one that is owned.
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

  /** Once: the number of a closed descriptor is soon another file's. */
  release(): void {
    if (this.#released) return
    this.#released = true
    fs.closeSync(this.#file)
  }
}

/** The live owner of the upload in `directory`, if there is one. */
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
    if (!fs.fstatSync(file).isFile()) throw new UntrustedFileError(`${path} is not a plain file`)
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

/** For people only, so a full disk must not keep anyone from finishing or aborting an upload. */
function writeOwner(file: number, size: number): void {
  const owner: Owner = { pid: process.pid, host: hostname() }
  const text = JSON.stringify(owner)
  try {
    fs.writeSync(file, text, 0) // over the last owner's name: its block is there already
    const length = Buffer.byteLength(text)
    if (size > length) fs.ftruncateSync(file, length)
  } catch (error) {
    if (!isSystemError(error, 'ENOSPC', 'EDQUOT')) throw error
  }
}

function parseOwner(text: string): Owner {
  const match = /^\{"pid":(\d+),"host":"([^"\\]*)"\}$/.exec(text)
  return { pid: Number(match?.[1] ?? 0), host: match?.[2] ?? 'unknown' }
}

/** `undefined`: it is not at this path any more. */
function statIfAtPath(file: number, path: string): fs.BigIntStats | undefined {
  const held = fs.fstatSync(file, { bigint: true })
  const there = fs.statSync(path, { bigint: true, throwIfNoEntry: false })
  return held.ino === there?.ino && held.dev === there.dev ? held : undefined
}

function closeAndReturn<T>(file: number, answer: T): T {
  fs.closeSync(file)
  return answer
}
