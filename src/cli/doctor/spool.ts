/** The check-up of the spool directory: what every upload will need of this disk. */
import { constants } from 'node:fs'
import { access, open, stat, statfs, unlink } from 'node:fs/promises'
import { makeDirectory, syncDirectory } from '../../disk/durable-fs.js'
import { checkFileSystem } from '../../disk/fs-capabilities.js'
import { newProbePath } from '../../disk/probe.js'
import type { Content } from '../spool-content.js'
import { formatBytes } from '../quantities.js'
import { failed, ok, skipped, warning, type Finding } from './finding.js'

const GIB = 2 ** 30
/** A slow disk makes many small uploads slow: each of them is synced several times. */
const SLOW_SYNC = 200
/** Magic numbers of file systems in memory: tmpfs and ramfs (statfs(2)). */
const IN_MEMORY = [0x01021994, 0x858458f6]

/** Makes the directory if there is none, as an upload would. */
export async function checkSpool(directory: string): Promise<Finding[]> {
  try {
    await makeDirectory(directory)
    await access(directory, constants.R_OK | constants.W_OK | constants.X_OK)
  } catch (error) {
    const mend = 'Give --spool or $OSS_SPOOL_DIR a directory on a local disk that you may write to'
    return [
      failed('spool directory', `${directory} cannot be used: ${codeOf(error)}`, mend),
      ...['space', 'locks', 'fsync'].map(check => skipped(check, 'no spool directory')),
    ]
  }
  return [
    await checkRights(directory),
    await checkSpace(directory),
    await checkLocks(directory),
    await checkSync(directory),
  ]
}

/** What is in there: work that waits, and what was set aside. */
export function checkContent({ uploads, quarantine }: Content): Finding[] {
  const unfinished = uploads.filter(({ phase }) => phase !== 'receipt')
  const waiting = unfinished.filter(
    ({ phase, owner }) => phase !== 'spooling' && owner === undefined,
  ).length
  return [
    waiting === 0
      ? ok('uploads', `${unfinished.length} unfinished, none waits for resume`)
      : warning(
          'uploads',
          `${waiting} of ${unfinished.length} unfinished uploads are sealed and nobody works on them`,
          'Run "oss-spool resume --all", best by cron or a systemd timer',
        ),
    quarantine.length === 0
      ? ok('quarantine', 'empty')
      : warning(
          'quarantine',
          `${quarantine.length} damaged uploads were set aside`,
          'Run their sources again; "oss-spool ls" shows them, "oss-spool prune" removes them in time',
        ),
  ]
}

async function checkRights(directory: string): Promise<Finding> {
  const { mode, uid } = await stat(directory)
  const rights = `${directory}, mode ${(mode & 0o777).toString(8)}`
  if (process.getuid !== undefined && uid !== process.getuid()) {
    const mend = 'Run oss-spool as its owner, or give this user a directory of its own'
    return warning('spool directory', `${rights}, belongs to user ${uid}`, mend)
  }
  if ((mode & 0o022) !== 0) {
    const mend = `Run "chmod 700 ${directory}"`
    return warning('spool directory', `${rights}: others can write to it`, mend)
  }
  return ok('spool directory', rights)
}

async function checkSpace(directory: string): Promise<Finding> {
  const { bavail, bsize, ffree, files } = await statfs(directory)
  const free = bavail * bsize
  const message = `${formatBytes(free)} free`
  if (files > 0 && ffree < 16)
    return failed('space', 'no inodes left', 'Remove files from its disk')
  if (free < GIB / 64) return failed('space', message, 'Make room, or use a larger disk')
  if (free >= GIB) return ok('space', message)
  return warning(
    'space',
    message,
    'A spool holds each stream as long as OSS does not have all of it: make sure that it fits',
  )
}

async function checkLocks(directory: string): Promise<Finding> {
  try {
    const remote = await checkFileSystem(directory)
    if (remote === undefined) return ok('locks', 'kernel file locks exclude')
    return warning('locks', remote, 'Put the spool directory on a local disk')
  } catch (error) {
    const mend = 'Put the spool directory on a local disk'
    return failed('locks', error instanceof Error ? error.message : String(error), mend)
  }
}

async function checkSync(directory: string): Promise<Finding> {
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
    const mend = 'Look at the disk: what is not synced is lost with the power'
    return failed('fsync', `a file could not be written and synced: ${codeOf(error)}`, mend)
  } finally {
    await unlink(path).catch(() => undefined) // the next sweep does it
  }
  const elapsed = performance.now() - startedAt
  const { type } = await statfs(directory)
  if (IN_MEMORY.includes(type)) {
    const mend = 'Put the spool directory on a disk'
    return warning('fsync', 'the file system is in memory: sealed uploads go with the power', mend)
  }
  const message = `a file and its directory are synced in ${elapsed.toFixed(1)} ms`
  if (elapsed < SLOW_SYNC) return ok('fsync', message)
  return warning('fsync', message, 'Each upload syncs several times: use a faster disk')
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : String(error)
}
