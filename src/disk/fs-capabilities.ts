/**
 * Capabilities of the spool directory's file system, probed once at the start. Kernel locks keep two
 * processes from working on the same upload: a directory without them is rejected, and network file systems
 * emit a warning. Hole punching is probed only when `maxSpoolBytes` is set.
 */
import * as fs from 'node:fs'
import { statfs, unlink } from 'node:fs/promises'
import { promisify } from 'node:util'
import { sparse, trim, tryLock } from 'fs-native-extensions'
import { SpoolError } from '../errors.js'
import type { Hint } from '../hint.js'
import { ignoreMissing, makeDirectory } from './durable-fs.js'
import { newProbePath } from './probe-file.js'

const open = promisify(fs.open)
const read = promisify(fs.read)
/** Unlike `write`, fails if there is no space for all bytes. */
const writeAll = promisify(fs.writeFile)

/** Magic numbers (statfs(2)) of file systems whose locks depend on a server or a driver. */
const REMOTE_FILE_SYSTEMS: ReadonlyMap<number, string> = new Map([
  [0x6969, 'NFS'],
  [0xff534d42, 'CIFS'],
  [0xfe534d42, 'SMB'],
  [0x65735546, 'FUSE'],
  [0x01021997, '9P'],
])

/**
 * Creates the spool directory and checks that its file system has kernel locks.
 * @returns a warning if the locks may be unreliable
 * @throws SpoolError `ERR_SPOOL_NO_LOCKS`
 */
export async function checkFileSystem(directory: string): Promise<string | undefined> {
  await makeDirectory(directory)
  if (!(await locksExclude(directory))) {
    const message = `The file system of ${directory} has no kernel file locks`
    const hint =
      'Put the spool directory on a local disk. Without locks, two processes could work on the same upload.'
    throw new SpoolError('ERR_SPOOL_NO_LOCKS', message, { hint })
  }
  const name = REMOTE_FILE_SYSTEMS.get((await statfs(directory)).type)
  if (name === undefined) return undefined
  return `The spool directory ${directory} is on ${name}: its locks are only as reliable as those of ${name}, and a lost connection may release them. Use a local disk if possible`
}

/**
 * Checks that a range of a file in the spool directory can be returned to the file system.
 * @throws SpoolError `ERR_SPOOL_NO_HOLES`
 */
export async function checkHolePunching(directory: string): Promise<void> {
  const path = newProbePath(directory)
  const file = await open(path, 'wx+', 0o600)
  try {
    await writeAll(file, Buffer.alloc(2 * PROBE_BYTES, 1))
    await punchHole(file, directory)
    const { buffer } = await read(file, Buffer.alloc(2 * PROBE_BYTES), 0, 2 * PROBE_BYTES, 0)
    if (buffer.indexOf(1) !== PROBE_BYTES || buffer.includes(0, PROBE_BYTES))
      throw noHolesError(directory)
  } finally {
    await unlink(path).catch(() => undefined) // the next sweep removes it
    fs.closeSync(file)
  }
}

/** A multiple of the block sizes of all known file systems. */
const PROBE_BYTES = 64 * 1024

async function punchHole(file: number, directory: string): Promise<void> {
  try {
    await sparse(file)
    await trim(file, 0, PROBE_BYTES)
  } catch (cause) {
    throw noHolesError(directory, cause)
  }
}

function noHolesError(directory: string, cause?: unknown): SpoolError {
  const message = `A bounded spool requires hole punching, which the file system of ${directory} does not support`
  const hint: Hint = say =>
    `Remove ${say.option('maxSpoolBytes')}, or put the spool directory on a file system with hole punching, such as ext4, XFS, Btrfs, APFS or NTFS.`
  return new SpoolError('ERR_SPOOL_NO_HOLES', message, { hint, cause })
}

/** Checks that two open files of this process exclude each other, as those of two processes would. */
async function locksExclude(directory: string): Promise<boolean> {
  const path = newProbePath(directory)
  const first = await open(path, 'wx+', 0o600)
  let second: number | undefined
  try {
    second = (await open(path, 'r+').catch(ignoreMissing)) ?? undefined
    // Another process's sweep removed the file: retry with a new one.
    if (second === undefined) return await locksExclude(directory)
    return canLock(first) && !canLock(second)
  } finally {
    await unlink(path).catch(() => undefined) // the next sweep removes it
    fs.closeSync(first)
    if (second !== undefined) fs.closeSync(second)
  }
}

/** Returns `false` also if locks are not supported (ENOLCK, ENOTSUP, EINVAL, ...). */
function canLock(fd: number): boolean {
  try {
    return tryLock(fd)
  } catch {
    return false // for any error: this file system cannot lock
  }
}
