/**
 * The few file operations the store is made of. What others can see appears by one rename and is
 * read whole; a file that is not there is `undefined`, any other trouble is thrown.
 */
import { mkdir, open, readdir, readFile, rename, rm, stat, unlink } from 'node:fs/promises'

/** Whether an error of Node has this code. */
export function hasErrorCode(error: unknown, ...codes: string[]): boolean {
  return error instanceof Error && 'code' in error && codes.includes(String(error.code))
}

/** `undefined` in place of ENOENT (or ENOTDIR). */
export async function ifExists<T>(operation: Promise<T>): Promise<T | undefined> {
  try {
    return await operation
  } catch (error) {
    if (hasErrorCode(error, 'ENOENT', 'ENOTDIR')) return undefined
    throw error
  }
}

/** A JSON file. The caller names its type: only the store writes these files. */
export async function readJsonFile<T>(path: string): Promise<T | undefined> {
  const text = await ifExists(readFile(path, 'utf8'))
  // a file of ours, written whole and renamed into place
  return text === undefined ? undefined : (JSON.parse(text) as T)
}

/** Writes JSON to `temp` and renames it to `path`: readers see the old file or the new one. */
export async function writeJsonFile(temp: string, path: string, value: unknown): Promise<void> {
  const file = await open(temp, 'w', 0o600)
  try {
    await file.writeFile(JSON.stringify(value))
  } finally {
    await file.close()
  }
  await rename(temp, path)
}

/** Makes a directory and its parents, private to the user. */
export async function makeDir(path: string): Promise<void> {
  await mkdir(path, { recursive: true, mode: 0o700 })
}

/** The names in a directory, none if it is not there. */
export async function listDir(path: string): Promise<string[]> {
  return (await ifExists(readdir(path))) ?? []
}

/** Removes a file if it is there. */
export async function removeFile(path: string): Promise<void> {
  await ifExists(unlink(path))
}

/** Removes a file or a tree if it is there. */
export async function removeTree(path: string): Promise<void> {
  await rm(path, { recursive: true, force: true })
}

/** Whether there is anything under this name. */
export async function pathExists(path: string): Promise<boolean> {
  return (await ifExists(stat(path))) !== undefined
}
