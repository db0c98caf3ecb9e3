/**
 * Ownership checks for the spool directory. Other users may be able to write there. Their files must not lead
 * outside of it, block us, or be sent with our credentials: a record or a lock must be a regular file, and an
 * upload a real directory that is owned by this user or by root.
 */
import * as fs from 'node:fs'
import { dirname } from 'node:path'
import { newProbePath } from './probe-file.js'

/** A file or directory is not of the expected type or owner. It is left unchanged and reported. */
export class UntrustedFileError extends Error {
  override readonly name = 'UntrustedFileError'
}

const { O_NOFOLLOW, O_NONBLOCK } = fs.constants // undefined on Windows, where `|` treats it as 0

/** `open` flag: do not block on a FIFO without a writer. */
export const NONBLOCK = O_NONBLOCK

/** `open` flags: do not follow symlinks, do not block on FIFOs. */
export const NOFOLLOW_NONBLOCK = O_NOFOLLOW | O_NONBLOCK

/** Opens a regular file for reading. @throws UntrustedFileError, system errors (`ELOOP` for a symlink) */
export function openRegularFile(path: string): { file: number; stats: fs.Stats } {
  const file = fs.openSync(path, fs.constants.O_RDONLY | NOFOLLOW_NONBLOCK)
  const stats = fs.fstatSync(file)
  if (stats.isFile()) return { file, stats }
  fs.closeSync(file)
  throw new UntrustedFileError(`${path} is not a regular file`)
}

/**
 * Checks type and owner of a directory in the spool, before its content is trusted.
 * @returns whether it exists
 * @throws UntrustedFileError, system errors
 */
export function checkDirectory(path: string): boolean {
  const stats = fs.lstatSync(path, { throwIfNoEntry: false })
  if (stats === undefined) return false
  if (stats.isSymbolicLink())
    throw new UntrustedFileError(`${path} is a symbolic link, which is not followed`)
  if (isOwnedByUs(stats) || stats.uid === uidOfNewFiles(dirname(path))) return true
  throw new UntrustedFileError(
    `${path} is owned by uid ${stats.uid}; only that user can resume its uploads`,
  )
}

/** Returns whether the directory exists and passes `checkDirectory`. */
export function isTrustedDirectory(path: string): boolean {
  try {
    return checkDirectory(path)
  } catch (error) {
    if (error instanceof UntrustedFileError) return false
    throw error
  }
}

/** Returns a warning if other users can write to `directory`. */
export function unsafePermissionsWarning(directory: string): string | undefined {
  const stats = fs.statSync(directory)
  const others = isOwnedByUs(stats)
    ? (stats.mode & 0o002) !== 0 && 'everyone can write to it'
    : stats.uid !== uidOfNewFiles(directory) && `it is owned by uid ${stats.uid}`
  if (process.platform === 'win32' || others === false) return undefined
  return `The spool directory ${directory} is unsafe: ${others}. Use a directory of your own with mode 700`
}

function isOwnedByUs({ uid }: fs.Stats): boolean {
  return process.geteuid === undefined || uid === 0 || uid === process.geteuid()
}

/** Returns the owner of new files in `directory`: a server or a driver may assign them to another user. */
function uidOfNewFiles(directory: string): number | undefined {
  const path = newProbePath(directory)
  try {
    const file = fs.openSync(path, 'wx', 0o600)
    try {
      return fs.fstatSync(file).uid
    } finally {
      fs.closeSync(file)
      fs.unlinkSync(path)
    }
  } catch {
    return undefined // no files can be created here, so none here are ours
  }
}
