/**
 * Where a process writes what nobody may see yet. Each emulator has a directory of its own and
 * holds a kernel lock in it for life; a directory whose lock can be taken belongs to a dead
 * process, and only then it is removed. So several processes may share a data directory, and
 * SIGKILL leaves nothing for long.
 */
import { randomBytes } from 'node:crypto'
import { open, rename, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { tryLock } from 'fs-native-extensions'
import { hasErrorCode, ifExists, makeDir, listDir, removeTree } from './files.js'

/** A directory not yet locked by its maker is left alone for so long, in ms. */
const UNLOCKED_GRACE_MS = 60 * 60 * 1000

/** A place for unfinished files. */
export interface Workspace {
  /** A path that no one else uses. */
  tempPath(): string
  /** Removes the workspace. */
  close(): Promise<void>
}

/**
 * Opens a workspace under `temp` and removes those of the dead.
 * @returns the workspace, and whether a dead process was found (its last steps may be half done)
 */
export async function openWorkspace(
  tempRoot: string,
): Promise<{ workspace: Workspace; crashed: boolean }> {
  await makeDir(tempRoot)
  const id = randomBytes(8).toString('hex')
  // locked before it gets the name under which others would try its lock
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
    const made = await ifExists(stat(dir))
    return made !== undefined && Date.now() - made.mtimeMs > UNLOCKED_GRACE_MS
  }
  try {
    const lock = await open(join(dir, 'lock'), 'r+')
    try {
      return tryLock(lock.fd)
    } finally {
      await lock.close()
    }
  } catch (error) {
    if (hasErrorCode(error, 'ENOENT')) return true // its owner is just removing it
    throw error
  }
}
