/**
 * What in a spool directory is trusted. Others may be able to write there, and what they leave must
 * neither be followed out of it, nor waited for, nor sent with our credentials: a record or a lock is
 * a plain file that is opened as such, and an upload is a real directory of this user or of root.
 */
import * as fs from 'node:fs'
import { dirname } from 'node:path'
import { newProbePath } from './probe.js'

/** Something is not what it must be: it is left alone and reported. */
export class UntrustedFileError extends Error {
  override readonly name = 'UntrustedFileError'
}

const { O_NOFOLLOW, O_NONBLOCK } = fs.constants // undefined on Windows, where `|` takes it for 0

/** For `open`: a FIFO without a writer does not keep us. */
export const NONBLOCK = O_NONBLOCK

/** For `open`: nor is a link followed. */
export const NOFOLLOW_NONBLOCK = O_NOFOLLOW | O_NONBLOCK

/** Opens a plain file for reading. @throws UntrustedFileError, system errors (`ELOOP` for a link) */
export function openRegularFile(path: string): { file: number; stats: fs.Stats } {
  const file = fs.openSync(path, fs.constants.O_RDONLY | NOFOLLOW_NONBLOCK)
  const stats = fs.fstatSync(file)
  if (stats.isFile()) return { file, stats }
  fs.closeSync(file)
  throw new UntrustedFileError(`${path} is not a plain file`)
}

/**
 * Looks at a directory in the spool before anything in it is relied on.
 * @returns whether there is one
 * @throws UntrustedFileError, system errors
 */
export function checkDirectory(path: string): boolean {
  const stats = fs.lstatSync(path, { throwIfNoEntry: false })
  if (stats === undefined) return false
  if (stats.isSymbolicLink())
    throw new UntrustedFileError(`${path} is a link, which is not followed`)
  if (isOwnedByUs(stats) || stats.uid === uidOfNewFiles(dirname(path))) return true
  throw new UntrustedFileError(
    `${path} belongs to user ${stats.uid}, whose uploads only that user finishes`,
  )
}

/** Whether there is a directory that `checkDirectory` has nothing against. */
export function isTrustedDirectory(path: string): boolean {
  try {
    return checkDirectory(path)
  } catch (error) {
    if (error instanceof UntrustedFileError) return false
    throw error
  }
}

/** What its user should know about others who may write to `directory`, if anything. */
export function unsafePermissionsWarning(directory: string): string | undefined {
  const stats = fs.statSync(directory)
  const others = isOwnedByUs(stats)
    ? (stats.mode & 0o002) !== 0 && 'everyone can write to it'
    : stats.uid !== uidOfNewFiles(directory) && `it belongs to user ${stats.uid}`
  if (process.platform === 'win32' || others === false) return undefined
  return `The spool directory ${directory} is not safe from others, since ${others}: use one of your own, mode 700`
}

function isOwnedByUs({ uid }: fs.Stats): boolean {
  return process.geteuid === undefined || uid === 0 || uid === process.geteuid()
}

/** A server or a driver may give files to another user than the one who makes them. */
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
    return undefined // whoever cannot make files here has none here
  }
}
