/**
 * Creates a directory with its parents. The recursive `mkdir` of Node 20 never returns, at full load, where the
 * parent exists and the file system still answers ENOENT: `/proc`, or a directory that an automounter serves.
 */
import { mkdir, stat } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { errorCode } from './error-code.js'

/**
 * Creates `path` and its missing parents, mode 0700.
 * @returns the first directory that was missing; `undefined` if none was
 * @throws system errors: of the first parent that cannot be created
 */
export async function makeDirectories(path: string): Promise<string | undefined> {
  const directory = resolve(path)
  try {
    await mkdir(directory, { mode: 0o700 })
    return directory
  } catch (error) {
    if (await isDirectory(directory)) return undefined
    if (errorCode(error) !== 'ENOENT' || dirname(directory) === directory) throw error
  }
  const first = await makeDirectories(dirname(directory))
  try {
    await mkdir(directory, { mode: 0o700 })
    return first ?? directory
  } catch (error) {
    if (await isDirectory(directory)) return first // another process was faster
    throw error
  }
}

async function isDirectory(path: string): Promise<boolean> {
  return stat(path).then(
    stats => stats.isDirectory(),
    () => false,
  )
}
