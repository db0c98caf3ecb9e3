/**
 * Durable changes to directories and small files. A file is replaced whole or not at all: written
 * under a unique name, fsynced, renamed, and the directory fsynced, since a rename that only the
 * page cache knows is undone by a power cut. (`write-file-atomic` ignores a short write, so on a
 * full disk it replaces a good file with a truncated one; `steno` does not fsync.)
 *
 * Here and in the files beside it: what may wait for the disk goes to Node's threads; what does not
 * (looking at an open file, opening what is there for reading, closing what is synced) is called
 * directly, since the way to a thread and back takes many times as long.
 */
import { randomUUID } from 'node:crypto'
import * as fs from 'node:fs'
import { mkdir, rename, unlink } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { promisify } from 'node:util'

const open = promisify(fs.open)
const writeFile = promisify(fs.writeFile)
const fsync = promisify(fs.fsync)

/** Ends of the names of files that are still being written. */
export const TEMP_SUFFIX = '.tmp'

/**
 * Replaces `path` with `text`, mode 0600. When it rejects, the old file is still there, whole; only
 * when nothing but the last fsync failed, it may be the new one.
 */
export async function replaceFile(path: string, text: string): Promise<void> {
  const temporary = `${path}.${process.pid}-${randomSuffix()}${TEMP_SUFFIX}`
  try {
    const file = await open(temporary, 'wx', 0o600)
    try {
      await writeFile(file, text)
      await fsync(file)
    } finally {
      fs.closeSync(file)
    }
    await rename(temporary, path)
  } catch (error) {
    await unlink(temporary).catch(() => undefined) // `tidy` does it; the first error is the cause
    throw error
  }
  await syncDirectory(dirname(path))
}

/** Makes the entries of a directory durable; Windows has no such call and does it by itself. */
export async function syncDirectory(path: string): Promise<void> {
  if (process.platform === 'win32') return
  const directory = fs.openSync(path, 'r')
  try {
    await fsync(directory)
  } finally {
    fs.closeSync(directory)
  }
}

/** 12 hexadecimal digits of chance; `randomUUID` asks the system once for many. */
export function randomSuffix(): string {
  return randomUUID().slice(-12)
}

/** Makes a directory, and those above it that are missing; durable when it resolves. */
export async function makeDirectory(path: string): Promise<void> {
  const first = await mkdir(path, { recursive: true, mode: 0o700 }).catch(
    async (error: unknown) => {
      throw isSystemError(error, 'ENOENT') ? await findMkdirError(resolve(path), error) : error
    },
  )
  if (first !== undefined) await syncParents(resolve(path), resolve(first))
}

/** On a read-only file system `recursive` ends with ENOENT; one directory alone says why. */
async function findMkdirError(path: string, error: NodeJS.ErrnoException): Promise<unknown> {
  try {
    await mkdir(path, { mode: 0o700 })
    return error
  } catch (cause) {
    if (isSystemError(cause, 'ENOENT') && dirname(path) !== path)
      return findMkdirError(dirname(path), error)
    return cause
  }
}

/** Makes the entries of `path` and of the directories above it durable, up to that of `first`. */
async function syncParents(path: string, first: string): Promise<void> {
  for (let at = path; ; at = dirname(at)) {
    // A parent that may be written but not listed cannot be synced by us: as durable as it gets.
    await syncDirectory(dirname(at)).catch((error: unknown) => {
      if (!isSystemError(error, 'EACCES', 'EPERM')) throw error
    })
    if (at === first || at === dirname(at)) return
  }
}

/** For `.catch()`: what is gone already need not be removed. */
export function ignoreMissing(error: unknown): void {
  if (!isSystemError(error, 'ENOENT')) throw error
}

export function isSystemError(error: unknown, ...codes: string[]): error is NodeJS.ErrnoException {
  return error instanceof Error && 'code' in error && codes.includes(String(error.code))
}
