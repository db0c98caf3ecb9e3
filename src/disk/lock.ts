/**
 * The lock of one upload: a kernel lock (OFD `fcntl`, `flock` or `LockFileEx`, by the platform) on
 * `lock` in its directory. The kernel frees it the moment its owner dies and keeps it while the
 * owner is frozen; two owners in one process exclude each other, too (rule 9). The file's content
 * names the owner for people and decides nothing.
 */
import * as fs from 'node:fs'
import { constants, type BigIntStats } from 'node:fs'
import { open, stat, type FileHandle } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { tryLock, unlock } from 'fs-native-extensions'
import { isSystemError } from './durable.js'

/** Who works on an upload. */
export interface Owner {
  readonly pid: number
  readonly host: string
}

const FILE = 'lock'

/** A probe by `ownerOf` holds the lock for some microseconds: not a reason to give up. */
const TRIES = 4
const PAUSE = 10

export class Lock {
  readonly #file: FileHandle

  private constructor(file: FileHandle) {
    this.#file = file
  }

  /**
   * Locks the upload in `directory`, which must exist.
   * @returns the lock, or `'owned'` when another one has it, or `'gone'` when the directory was
   * renamed away or removed meanwhile: the caller looks again.
   */
  static async acquire(directory: string): Promise<Lock | 'owned' | 'gone'> {
    const path = join(directory, FILE)
    let file: FileHandle
    try {
      file = await open(path, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600)
    } catch (error) {
      if (isSystemError(error, 'ENOENT')) return 'gone'
      throw error
    }
    try {
      for (let i = 1; !tryLock(file.fd); i++) {
        // Whoever has it may be removing the upload: then it is not this one that is owned.
        if (i === TRIES) return await closed(file, (await statAt(file, path)) ? 'owned' : 'gone')
        await new Promise(resolve => setTimeout(resolve, PAUSE))
      }
      // A lock on a file that is no longer at its path protects nothing.
      const found = await statAt(file, path)
      if (found === undefined) return await closed(file, 'gone')
      await nameOwner(file, Number(found.size))
      return new Lock(file)
    } catch (error) {
      await file.close()
      throw error
    }
  }

  released = false

  async release(): Promise<void> {
    this.released = true
    await this.#file.close()
  }
}

/** Without file handles, which cost more than all else here: a list asks this a thousand times. */
const plain = {
  open: promisify(fs.open),
  readFile: promisify(fs.readFile),
  close: promisify(fs.close),
}

/** The live owner of the upload in `directory`, if there is one. */
export async function ownerOf(directory: string): Promise<Owner | undefined> {
  let fd: number
  try {
    fd = await plain.open(join(directory, FILE), constants.O_RDONLY | constants.O_NOFOLLOW)
  } catch (error) {
    if (isSystemError(error, 'ENOENT')) return undefined
    throw error
  }
  try {
    if (tryLock(fd, { shared: true })) {
      unlock(fd)
      return undefined
    }
    return parseOwner(await plain.readFile(fd, 'utf8'))
  } finally {
    await plain.close(fd)
  }
}

/** For people only, so a full disk must not keep anyone from finishing or aborting an upload. */
async function nameOwner(file: FileHandle, size: number): Promise<void> {
  const owner: Owner = { pid: process.pid, host: hostname() }
  const text = JSON.stringify(owner)
  try {
    await file.write(text, 0) // over the last owner's name: its block is there already
    const length = Buffer.byteLength(text)
    if (size > length) await file.truncate(length)
  } catch (error) {
    if (!isSystemError(error, 'ENOSPC', 'EDQUOT')) throw error
  }
}

function parseOwner(text: string): Owner {
  const match = /^\{"pid":(\d+),"host":"([^"\\]*)"\}$/.exec(text)
  return { pid: Number(match?.[1] ?? 0), host: match?.[2] ?? 'unknown' }
}

/** `undefined`: it is not at this path any more. */
async function statAt(file: FileHandle, path: string): Promise<BigIntStats | undefined> {
  const [held, there] = await Promise.all([
    file.stat({ bigint: true }),
    stat(path, { bigint: true }).catch(() => undefined),
  ])
  return held.ino === there?.ino && held.dev === there.dev ? held : undefined
}

async function closed<T>(file: FileHandle, answer: T): Promise<T> {
  await file.close()
  return answer
}
