/**
 * Ownership checks for the spool directory. Other users may be able to write there. Their files must not lead
 * outside of it, block us, or be sent with our credentials: a record or a lock must be a regular file, and an
 * upload a real directory that is owned by this user or by root.
 */
import * as fs from 'node:fs'
import { dirname, resolve } from 'node:path'
import { systemErrorCode } from './durable-fs.js'
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
  try {
    return { file, stats: checkOpenFile(file, path) }
  } catch (error) {
    fs.closeSync(file)
    throw error
  }
}

/** Returns the stats of an open file. @throws UntrustedFileError if it is irregular or another user's */
export function checkOpenFile(file: number, path: string): fs.Stats {
  const stats = fs.fstatSync(file)
  if (!stats.isFile()) throw new UntrustedFileError(`${path} is not a regular file`)
  checkOwner(stats, path)
  return stats
}

/** Checks the owner of what is at `path`. @throws UntrustedFileError if it is neither this user nor root */
export function checkOwner(stats: fs.Stats | fs.BigIntStats, path: string): void {
  if (isOwnedByUs(stats) || Number(stats.uid) === uidOfNewFiles(dirname(path))) return
  throw new UntrustedFileError(`${path} is owned by uid ${stats.uid}`)
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

/** A spool directory that others can write to, or replace. */
export interface UnsafePermissions {
  /** What is unsafe: the mode or the owner of the directory, or a directory or link on the way to it. */
  readonly kind: 'mode' | 'owner' | 'parent'
  /** Who can do what. */
  readonly cause: string
}

/** Returns who else can write to `directory`, or can replace it. */
export function findUnsafePermissions(directory: string): UnsafePermissions | undefined {
  const stats = fs.statSync(directory, { throwIfNoEntry: false })
  if (process.platform === 'win32' || stats === undefined) return undefined
  const isOurs = (found: fs.Stats): boolean =>
    isOwnedByUs(found) || found.uid === uidOfNewFiles(directory)
  if (!isOurs(stats)) return { kind: 'owner', cause: `it is owned by uid ${stats.uid}` }
  const others = writers(stats)
  if (others !== undefined) return { kind: 'mode', cause: `${others} can write to it` }
  try {
    const cause = replaceablePath(resolve(directory), isOurs, new Set())
    return cause === undefined ? undefined : { kind: 'parent', cause }
  } catch (error) {
    if (systemErrorCode(error) === undefined) throw error
    return undefined // a sandbox may hide parents
  }
}

const REMEDIES: Record<UnsafePermissions['kind'], string> = {
  mode: 'Set its mode to 700',
  owner: 'Use a directory of your own with mode 700',
  parent: 'Use a directory with parents that only you and root can write to',
}

/** Returns a warning if others can write to `directory`, or can replace it. */
export function unsafePermissionsWarning(directory: string): string | undefined {
  const unsafe = findUnsafePermissions(directory)
  if (unsafe === undefined) return undefined
  return `The spool directory ${directory} is unsafe: ${unsafe.cause}. ${REMEDIES[unsafe.kind]}`
}

/**
 * Says who could put something else in place of `path`, one of its parents, or a link on the way.
 * @param seen – paths that were checked, with their parents
 * @throws system errors
 */
function replaceablePath(
  path: string,
  isOurs: (stats: fs.Stats) => boolean,
  seen: Set<string>,
): string | undefined {
  for (
    let below = path, at = dirname(path);
    at !== below && !seen.has(below);
    below = at, at = dirname(at)
  ) {
    seen.add(below)
    const parent = fs.statSync(at)
    const entry = fs.lstatSync(below)
    // With or without the sticky bit.
    if (!isOurs(parent)) return `uid ${parent.uid} owns ${at} and can replace ${below}`
    const others = (parent.mode & STICKY) === 0 ? writers(parent) : undefined
    if (others !== undefined) return `${others} can write to ${at} and replace ${below}`
    if (!entry.isSymbolicLink()) continue
    if (!isOurs(entry)) return `uid ${entry.uid} owns the link ${below} and can replace it`
    const target = resolve(fs.realpathSync(at), fs.readlinkSync(below))
    const cause = replaceablePath(target, isOurs, seen)
    if (cause !== undefined) return cause
  }
  return undefined
}

/** In a directory with this bit, only the owner of an entry can rename or remove it. */
const STICKY = 0o1000

/**
 * Returns who but its owner can write to a directory. The group of root, and a group with the number of the
 * owner (the private group that most Linux systems give each user), have no other members.
 */
function writers({ mode, uid, gid }: fs.Stats): string | undefined {
  if ((mode & 0o002) !== 0) return 'everyone'
  const isPrivateGroup = gid === 0 || gid === uid
  return (mode & 0o020) !== 0 && !isPrivateGroup ? `group ${gid}` : undefined
}

function isOwnedByUs(stats: fs.Stats | fs.BigIntStats): boolean {
  const uid = Number(stats.uid)
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
