/**
 * Per-process directories for files that are not visible yet. Each emulator has its own directory and
 * holds a kernel lock in it while it runs. A directory is removed only if its lock can be acquired, i.e.
 * its process is dead. So several processes may share a data directory, and the leftovers of SIGKILL are
 * removed by the next start.
 */
import { randomBytes } from 'node:crypto'
import { open, rename, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { tryLock } from 'fs-native-extensions'
import { hasErrorCode, ifExists, makeDir, listDir, removeTree } from './files.js'

/** Age, in ms, at which a directory that its creator has not locked yet counts as stale. */
const UNLOCKED_GRACE_MS = 60 * 60 * 1000

/** A directory for unfinished files. */
export interface Workspace {
  /** Returns a unique path. */
  tempPath(): string
  /** Removes the workspace. */
  close(): Promise<void>
}

/**
 * Opens a workspace under `tempRoot` and removes those of dead processes.
 *
 * @returns the workspace, and whether a process had crashed (its last operations may be incomplete)
 */
export async function openWorkspace(
  tempRoot: string,
): Promise<{ workspace: Workspace; crashed: boolean }> {
  await makeDir(tempRoot)
  const id = randomBytes(8).toString('hex')
  // lock before renaming to a name whose lock other processes would try to acquire
  await makeDir(join(tempRoot, `new-${id}`))
  const lock = await open(join(tempRoot, `new-${id}`, 'lock'), 'w', 0o600)
  tryLock(lock.fd)
  const dir = join(tempRoot, id)
  await rename(join(tempRoot, `new-${id}`), dir)
  const crashed = await removeStaleWorkspaces(tempRoot, id)
  let count = 0
  return {
    crashed,
    workspace: {
      tempPath: () => join(dir, String(++count)),
      async close() {
        await removeTree(dir)
        await lock.close()
      },
    },
  }
}

async function removeStaleWorkspaces(tempRoot: string, ownId: string): Promise<boolean> {
  let found = false
  for (const name of await listDir(tempRoot))
    if (name !== ownId && (await isStale(join(tempRoot, name), name.startsWith('new-')))) {
      await removeTree(join(tempRoot, name))
      found = true
    }
  return found
}

async function isStale(dir: string, isUnlocked: boolean): Promise<boolean> {
  if (isUnlocked) {
    const stats = await ifExists(stat(dir))
    return stats !== undefined && Date.now() - stats.mtimeMs > UNLOCKED_GRACE_MS
  }
  try {
    const lock = await open(join(dir, 'lock'), 'r+')
    try {
      return tryLock(lock.fd)
    } finally {
      await lock.close()
    }
  } catch (error) {
    if (hasErrorCode(error, 'ENOENT')) return true // its owner is removing it
    throw error
  }
}
