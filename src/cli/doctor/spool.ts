/** Checks of the spool directory: what every upload requires of this disk, and the unfinished uploads. */
import { constants } from 'node:fs'
import { access, open, stat, statfs, unlink } from 'node:fs/promises'
import { makeDirectory, syncDirectory } from '../../disk/durable-fs.js'
import { checkFileSystem } from '../../disk/fs-capabilities.js'
import { newProbePath } from '../../disk/probe-file.js'
import { skipReason } from '../all-uploads.js'
import { idArgument } from '../proposed-command.js'
import { shellQuoted } from '../command-words.js'
import type { IsOwnUpload, Session } from '../session.js'
import type { SpoolContent } from '../spool-content.js'
import { findUnsafePermissions } from '../../disk/trusted-files.js'
import { formatBytes } from '../units.js'
import {
  failedResult,
  okResult,
  skippedResult,
  warningResult,
  type CheckResult,
} from './check-result.js'
import { errorMessage } from '../../util/error-shape.js'
import { errorCode } from '../../util/error-code.js'

const LOW_SPACE_BYTES = 2 ** 30
/** Each upload syncs several times, so a slow disk slows down many small uploads. */
const SLOW_SYNC_MS = 200
/** `statfs(2)` magic numbers of in-memory file systems: tmpfs and ramfs. */
const IN_MEMORY_FS_TYPES = [0x01021994, 0x858458f6]

/** Checks the spool directory. Creates it if it does not exist, as an upload would. */
export async function checkSpoolDirectory(directory: string): Promise<CheckResult[]> {
  try {
    await makeDirectory(directory)
    await access(directory, constants.R_OK | constants.W_OK | constants.X_OK)
  } catch (error) {
    const hint = 'Set --spool or $OSS_SPOOL_DIR to a writable directory on a local disk'
    return [
      failedResult(
        'spool directory',
        `${directory} cannot be used: ${errorCodeOrText(error)}`,
        hint,
      ),
      ...['space', 'locks', 'fsync'].map(check =>
        skippedResult(check, 'no usable spool directory'),
      ),
    ]
  }
  return [
    await checkPermissions(directory),
    await checkSpace(directory),
    await checkLocks(directory),
    await checkFsync(directory),
  ]
}

/**
 * Checks for uploads that only wait for `resume`, by endpoint, and for quarantined uploads.
 * @param isOwn – whether an upload belongs to the selected OSS
 */
export function checkSpoolContent(
  session: Session,
  { uploads, quarantine }: SpoolContent,
  isOwn: IsOwnUpload,
): CheckResult[] {
  const unfinished = uploads.filter(({ phase }) => phase !== 'receipt')
  const waiting = unfinished.filter(status => {
    const reason = skipReason(status, isOwn(status))
    return reason === undefined || reason === 'elsewhere'
  })
  const existing = unfinished.filter(status => skipReason(status, isOwn(status)) === 'exists')
  const total = `of ${unfinished.length} unfinished uploads`
  return [
    ...(waiting.length === 0
      ? [okResult('uploads', `${unfinished.length} unfinished, none waiting for resume`)]
      : []),
    ...[...new Set(waiting.map(status => status.endpoint))].map(place => {
      const statuses = waiting.filter(status => status.endpoint === place)
      const at = statuses.find(status => !isOwn(status))
      return warningResult(
        'uploads',
        `${statuses.length} ${total} are sealed or committed and belong to ${place}, and no process works on them`,
        `Run "${session.proposeAt(at, 'resume', '--all')}", preferably from cron or a systemd timer`,
      )
    }),
    ...existing.map(({ id, bucket, key }) =>
      warningResult(
        'uploads',
        `${id} waits, because oss://${bucket}/${key} already exists`,
        `Run "${session.propose('show', ...idArgument(id))}" to see what can be done`,
      ),
    ),
    quarantine.length === 0
      ? okResult('quarantine', 'empty')
      : warningResult(
          'quarantine',
          `${quarantine.length} damaged uploads`,
          `Upload again from their sources. "${session.propose('ls')}" lists them, "${session.propose('prune')}" removes old ones`,
        ),
  ]
}

async function checkPermissions(directory: string): Promise<CheckResult> {
  const { mode, uid } = await stat(directory)
  const directoryAndMode = `${directory}, mode ${(mode & 0o777).toString(8)}`
  if (process.getuid !== undefined && uid !== process.getuid()) {
    const hint = 'Run oss-spool as its owner, or set --spool to a directory of your own'
    return warningResult('spool directory', `${directoryAndMode}, owned by uid ${uid}`, hint)
  }
  const unsafe = findUnsafePermissions(directory)
  if (unsafe !== undefined) {
    const hint =
      unsafe.kind === 'mode'
        ? `Run "chmod 700 ${shellQuoted(directory)}"`
        : 'Set --spool to a directory of your own, with parents that only you and root can write to'
    return warningResult('spool directory', `${directoryAndMode}: ${unsafe.cause}`, hint)
  }
  return okResult('spool directory', directoryAndMode)
}

async function checkSpace(directory: string): Promise<CheckResult> {
  const { bavail, bsize, ffree, files } = await statfs(directory)
  const freeBytes = bavail * bsize
  const message = `${formatBytes(freeBytes)} free`
  if (files > 0 && ffree < 16)
    return failedResult('space', 'no inodes left', 'Remove files from this disk')
  if (freeBytes < LOW_SPACE_BYTES / 64)
    return failedResult('space', message, 'Free some space, or use a larger disk')
  if (freeBytes >= LOW_SPACE_BYTES) return okResult('space', message)
  return warningResult(
    'space',
    message,
    'Free some space, or use a larger disk. Each stream stays in the spool until OSS has all of it',
  )
}

async function checkLocks(directory: string): Promise<CheckResult> {
  try {
    const remoteWarning = await checkFileSystem(directory)
    if (remoteWarning === undefined) return okResult('locks', 'kernel file locks work')
    return warningResult('locks', remoteWarning, 'Put the spool directory on a local disk')
  } catch (error) {
    const hint = 'Put the spool directory on a local disk'
    return failedResult('locks', errorMessage(error), hint)
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
    const hint = 'Check the disk. Data that is not synced is lost on power failure'
    return failedResult(
      'fsync',
      `writing and syncing a file failed: ${errorCodeOrText(error)}`,
      hint,
    )
  } finally {
    await unlink(path).catch(() => undefined) // the next sweep removes it
  }
  const elapsed = performance.now() - startedAt
  const { type } = await statfs(directory)
  if (IN_MEMORY_FS_TYPES.includes(type)) {
    const hint = 'Put the spool directory on a disk'
    return warningResult(
      'fsync',
      'the file system is in memory; sealed uploads are lost on power failure',
      hint,
    )
  }
  const message = `a file and its directory are synced in ${elapsed.toFixed(1)} ms`
  if (elapsed < SLOW_SYNC_MS) return okResult('fsync', message)
  return warningResult('fsync', message, 'Use a faster disk. Each upload syncs several times')
}

function errorCodeOrText(error: unknown): string {
  return errorCode(error) ?? String(error)
}
