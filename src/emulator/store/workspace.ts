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
import { hasCode, ifThere, makeDir, namesIn, removeTree } from './files.js'

/** A directory not yet locked by its maker is left alone for so long, in ms. */
const NEWBORN = 60 * 60 * 1000

/** A place for unfinished files. */
export interface Workspace {
  /** A path that no one else uses. */
  fresh(): string
  /** Removes the workspace. */
  close(): Promise<void>
}

/**
 * Opens a workspace under `temp` and removes those of the dead.
 * @returns the workspace, and whether a dead process was found (its last steps may be half done)
 */
export async function openWorkspace(
  temp: string,
): Promise<{ workspace: Workspace; crashed: boolean }> {
  await makeDir(temp)
  const id = randomBytes(8).toString('hex')
  // locked before it gets the name under which others would try its lock
  await makeDir(join(temp, `new-${id}`))
  const lock = await open(join(temp, `new-${id}`, 'lock'), 'w', 0o600)
  tryLock(lock.fd)
  const dir = join(temp, id)
  await rename(join(temp, `new-${id}`), dir)
  const crashed = await removeDead(temp, id)
  let count = 0
  return {
    crashed,
    workspace: {
      fresh: () => join(dir, String(++count)),
      async close() {
        await removeTree(dir)
        await lock.close()
      },
    },
  }
}

async function removeDead(temp: string, own: string): Promise<boolean> {
  let found = false
  for (const name of await namesIn(temp))
    if (name !== own && (await isDead(join(temp, name), name.startsWith('new-')))) {
      await removeTree(join(temp, name))
      found = true
    }
  return found
}

async function isDead(dir: string, newborn: boolean): Promise<boolean> {
  if (newborn) {
    const made = await ifThere(stat(dir))
    return made !== undefined && Date.now() - made.mtimeMs > NEWBORN
  }
  try {
    const lock = await open(join(dir, 'lock'), 'r+')
    try {
      return tryLock(lock.fd)
    } finally {
      await lock.close()
    }
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return true // its owner is just removing it
    throw error
  }
}
