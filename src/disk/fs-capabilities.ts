/**
 * What the file system under the spool directory can do, found out once at the start: kernel locks
 * are what keeps two processes from working on one upload, so a directory without them is refused,
 * and one where they depend on a server or a driver is spoken of. Holes in files are asked for only
 * by a spool that is bounded.
 */
import * as fs from 'node:fs'
import { statfs, unlink } from 'node:fs/promises'
import { promisify } from 'node:util'
import { sparse, trim, tryLock } from 'fs-native-extensions'
import { SpoolError } from '../errors.js'
import { ignoreMissing, makeDirectory } from './durable-fs.js'
import { newProbePath } from './probe.js'

const open = promisify(fs.open)
const read = promisify(fs.read)
const write = promisify(fs.write)

/** Magic numbers of file systems whose locks are as good as what is behind them (statfs(2)). */
const REMOTE_FILE_SYSTEMS: ReadonlyMap<number, string> = new Map([
  [0x6969, 'NFS'],
  [0xff534d42, 'CIFS'],
  [0xfe534d42, 'SMB'],
  [0x65735546, 'FUSE'],
  [0x01021997, '9P'],
])

/**
 * Makes the spool directory and checks it.
 * @returns what its user should know about locks there, if anything
 * @throws SpoolError `ERR_SPOOL_NO_LOCKS`
 */
export async function checkFileSystem(directory: string): Promise<string | undefined> {
  await makeDirectory(directory)
  if (!(await locksExclude(directory))) {
    const message = `The file system of ${directory} has no kernel file locks`
    const hint =
      'Put the spool directory on a local disk: without locks two processes could work on one upload.'
    throw new SpoolError('ERR_SPOOL_NO_LOCKS', message, { hint })
  }
  const name = REMOTE_FILE_SYSTEMS.get((await statfs(directory)).type)
  if (name === undefined) return undefined
  return `The spool directory ${directory} is on ${name}: its locks hold only as far as ${name}'s do, and a lost connection may free them; a local disk is safer`
}

/**
 * Checks, in the spool directory, that a range of a file can be given back to the disk.
 * @throws SpoolError `ERR_SPOOL_NO_HOLES`
 */
export async function checkHolePunching(directory: string): Promise<void> {
  const path = newProbePath(directory)
  const file = await open(path, 'wx+', 0o600)
  try {
    await write(file, Buffer.alloc(2 * PROBE_BYTES, 1))
    await punchHole(file, directory)
    const { buffer } = await read(file, Buffer.alloc(2 * PROBE_BYTES), 0, 2 * PROBE_BYTES, 0)
    if (buffer.indexOf(1) !== PROBE_BYTES || buffer.includes(0, PROBE_BYTES))
      throw noHolesError(directory)
  } finally {
    await unlink(path).catch(() => undefined) // the next sweep does it
    fs.closeSync(file)
  }
}

/** A multiple of the blocks of all file systems that we know of. */
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
  const message = `maxSpoolBytes needs holes in files, which the file system of ${directory} does not have`
  const hint =
    'Leave it out, or put the spool directory on a file system with holes, such as ext4, XFS, Btrfs, APFS or NTFS.'
  return new SpoolError('ERR_SPOOL_NO_HOLES', message, { hint, cause })
}

/** Two open files of one process exclude each other just as two processes do. */
async function locksExclude(directory: string): Promise<boolean> {
  const path = newProbePath(directory)
  const first = await open(path, 'wx+', 0o600)
  let second: number | undefined
  try {
    second = (await open(path, 'r+').catch(ignoreMissing)) ?? undefined
    // Another process's sweep was quicker: again, with another file.
    if (second === undefined) return await locksExclude(directory)
    return canLock(first) && !canLock(second)
  } finally {
    await unlink(path).catch(() => undefined) // the next sweep does it
    fs.closeSync(first)
    if (second !== undefined) fs.closeSync(second)
  }
}

/** `false` also where locks are not known at all (ENOLCK, ENOTSUP, EINVAL, ...). */
function canLock(fd: number): boolean {
  try {
    return tryLock(fd)
  } catch {
    return false // whatever the reason is: this file system cannot lock
  }
}
