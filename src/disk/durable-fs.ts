/**
 * Durable changes to directories and small files. A file is replaced atomically: written under a unique name,
 * fsynced, renamed, and the directory fsynced, since a power cut undoes a rename that is only in the page
 * cache. (`write-file-atomic` ignores a short write, so on a full disk it replaces a good file with a
 * truncated one; `steno` does not fsync.)
 *
 * In this folder, calls that may wait for the disk run in Node's thread pool. Calls that do not (`fstat`,
 * opening an existing file for reading, closing a synced file) are synchronous, since the round trip to a
 * thread takes many times as long.
 */
import { randomUUID } from 'node:crypto'
import * as fs from 'node:fs'
import { rename, unlink } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { promisify } from 'node:util'
import { errorCode } from '../util/error-code.js'
import { isError } from '../util/error-shape.js'
import { makeDirectories } from '../util/make-directories.js'

const open = promisify(fs.open)
const writeFile = promisify(fs.writeFile)
const fsync = promisify(fs.fsync)

/** Suffix of files that are still being written. */
export const TEMP_SUFFIX = '.tmp'

/**
 * Replaces the content of `path` with `text`, mode 0600. On rejection the old file is unchanged, or already
 * replaced if only the last fsync failed.
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
    await unlink(temporary).catch(() => undefined) // left to `removeOtherFiles`; report the first error
    throw error
  }
  await syncDirectory(dirname(path))
}

/** Makes the entries of a directory durable. Windows has no such call and does this itself. */
export async function syncDirectory(path: string): Promise<void> {
  if (process.platform === 'win32') return
  const directory = fs.openSync(path, 'r')
  try {
    await fsync(directory)
  } finally {
    fs.closeSync(directory)
  }
}

/** Returns 12 random hexadecimal digits. `randomUUID` is cheap: it caches the system's random bytes. */
export function randomSuffix(): string {
  return randomUUID().slice(-12)
}

/** Creates a directory and its missing parents. Resolves when they are durable. */
export async function makeDirectory(path: string): Promise<void> {
  const first = await makeDirectories(path)
  if (first !== undefined) await syncParents(resolve(path), first)
}

/** Makes the directory entries of `path` and of its parents durable, up to and including `first`. */
async function syncParents(path: string, first: string): Promise<void> {
  for (let at = path; ; at = dirname(at)) {
    // A parent that is writable but not readable cannot be opened, and therefore not synced.
    await syncDirectory(dirname(at)).catch((error: unknown) => {
      if (!isSystemError(error, 'EACCES', 'EPERM')) throw error
    })
    if (at === first || at === dirname(at)) return
  }
}

/** For `.catch()`: ignores that a file does not exist. */
export function ignoreMissing(error: unknown): void {
  if (!isSystemError(error, 'ENOENT')) throw error
}

/** Returns the errno of a failed system call, such as `EIO`, or `undefined` for any other error. */
export function systemErrorCode(error: unknown): string | undefined {
  const code = isError(error) ? errorCode(error) : undefined
  return code !== undefined && /^E[A-Z0-9]+$/.test(code) ? code : undefined
}

export function isSystemError(error: unknown, ...codes: string[]): error is NodeJS.ErrnoException {
  return isError(error) && codes.includes(errorCode(error) ?? '')
}
