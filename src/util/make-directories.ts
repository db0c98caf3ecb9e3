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
    if (errorCode(error) !== 'ENOENT' || dirname(directory) === directory)
      return checkExists(directory, error)
  }
  const first = await makeDirectories(dirname(directory))
  try {
    await mkdir(directory, { mode: 0o700 })
    return first ?? directory
  } catch (error) {
    await checkExists(directory, error) // another process was faster
    return first
  }
}

/** Resolves if the directory exists although `mkdir` failed. @throws its failure, or that of looking at what exists */
async function checkExists(path: string, failure: unknown): Promise<undefined> {
  const stats = await stat(path).catch((error: unknown) => {
    throw errorCode(failure) === 'EEXIST' ? error : failure
  })
  if (!stats.isDirectory()) throw failure
}
