/** The check-up of the spool directory: what every upload will need of this disk. */
import { constants } from 'node:fs'
import { access, open, stat, statfs, unlink } from 'node:fs/promises'
import { makeDirectory, syncDirectory } from '../../disk/durable-fs.js'
import { checkFileSystem } from '../../disk/fs-capabilities.js'
import { newProbePath } from '../../disk/probe.js'
import type { SpoolContent } from '../spool-content.js'
import { formatBytes } from '../units.js'
import {
  failedResult,
  okResult,
  skippedResult,
  warningResult,
  type CheckResult,
} from './check-result.js'

const LOW_SPACE_BYTES = 2 ** 30
/** A slow disk makes many small uploads slow: each of them is synced several times. */
const SLOW_SYNC_MS = 200
/** Magic numbers of file systems in memory: tmpfs and ramfs (statfs(2)). */
const IN_MEMORY_FS_TYPES = [0x01021994, 0x858458f6]

/** Makes the directory if there is none, as an upload would. */
export async function checkSpoolDirectory(directory: string): Promise<CheckResult[]> {
  try {
    await makeDirectory(directory)
    await access(directory, constants.R_OK | constants.W_OK | constants.X_OK)
  } catch (error) {
    const fix = 'Give --spool or $OSS_SPOOL_DIR a directory on a local disk that you may write to'
    return [
      failedResult(
        'spool directory',
        `${directory} cannot be used: ${errorCodeOrText(error)}`,
        fix,
      ),
      ...['space', 'locks', 'fsync'].map(check => skippedResult(check, 'no spool directory')),
    ]
  }
  return [
    await checkPermissions(directory),
    await checkSpace(directory),
    await checkLocks(directory),
    await checkFsync(directory),
  ]
}

/** What is in there: work that waits, and what was set aside. */
export function checkSpoolContent({ uploads, quarantine }: SpoolContent): CheckResult[] {
  const unfinished = uploads.filter(({ phase }) => phase !== 'receipt')
  const waitingCount = unfinished.filter(
    ({ phase, owner }) => phase !== 'spooling' && owner === undefined,
  ).length
  return [
    waitingCount === 0
      ? okResult('uploads', `${unfinished.length} unfinished, none waits for resume`)
      : warningResult(
          'uploads',
          `${waitingCount} of ${unfinished.length} unfinished uploads are sealed and nobody works on them`,
          'Run "oss-spool resume --all", best by cron or a systemd timer',
        ),
    quarantine.length === 0
      ? okResult('quarantine', 'empty')
      : warningResult(
          'quarantine',
          `${quarantine.length} damaged uploads were set aside`,
          'Run their sources again; "oss-spool ls" shows them, "oss-spool prune" removes them in time',
        ),
  ]
}

async function checkPermissions(directory: string): Promise<CheckResult> {
  const { mode, uid } = await stat(directory)
  const directoryAndMode = `${directory}, mode ${(mode & 0o777).toString(8)}`
  if (process.getuid !== undefined && uid !== process.getuid()) {
    const fix = 'Run oss-spool as its owner, or give this user a directory of its own'
    return warningResult('spool directory', `${directoryAndMode}, belongs to user ${uid}`, fix)
  }
  if ((mode & 0o022) !== 0) {
    const fix = `Run "chmod 700 ${directory}"`
    return warningResult('spool directory', `${directoryAndMode}: others can write to it`, fix)
  }
  return okResult('spool directory', directoryAndMode)
}

async function checkSpace(directory: string): Promise<CheckResult> {
  const { bavail, bsize, ffree, files } = await statfs(directory)
  const freeBytes = bavail * bsize
  const message = `${formatBytes(freeBytes)} free`
  if (files > 0 && ffree < 16)
    return failedResult('space', 'no inodes left', 'Remove files from its disk')
  if (freeBytes < LOW_SPACE_BYTES / 64)
    return failedResult('space', message, 'Make room, or use a larger disk')
  if (freeBytes >= LOW_SPACE_BYTES) return okResult('space', message)
  return warningResult(
    'space',
    message,
    'A spool holds each stream as long as OSS does not have all of it: make sure that it fits',
  )
}

async function checkLocks(directory: string): Promise<CheckResult> {
  try {
    const remoteWarning = await checkFileSystem(directory)
    if (remoteWarning === undefined) return okResult('locks', 'kernel file locks exclude')
    return warningResult('locks', remoteWarning, 'Put the spool directory on a local disk')
  } catch (error) {
    const fix = 'Put the spool directory on a local disk'
    return failedResult('locks', error instanceof Error ? error.message : String(error), fix)
  }
}

async function checkFsync(directory: string): Promise<CheckResult> {
  const path = newProbePath(directory)
  const startedAt = performance.now()
  try {
    const file = await open(path, 'wx', 0o600)
    try {
      await file.writeFile('probe')
      await file.sync()
    } finally {
      await file.close()
    }
    await syncDirectory(directory)
  } catch (error) {
    const fix = 'Look at the disk: what is not synced is lost with the power'
    return failedResult(
      'fsync',
      `a file could not be written and synced: ${errorCodeOrText(error)}`,
      fix,
    )
  } finally {
    await unlink(path).catch(() => undefined) // the next sweep does it
  }
  const elapsed = performance.now() - startedAt
  const { type } = await statfs(directory)
  if (IN_MEMORY_FS_TYPES.includes(type)) {
    const fix = 'Put the spool directory on a disk'
    return warningResult(
      'fsync',
      'the file system is in memory: sealed uploads go with the power',
      fix,
    )
  }
  const message = `a file and its directory are synced in ${elapsed.toFixed(1)} ms`
  if (elapsed < SLOW_SYNC_MS) return okResult('fsync', message)
  return warningResult('fsync', message, 'Each upload syncs several times: use a faster disk')
}

function errorCodeOrText(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : String(error)
}
