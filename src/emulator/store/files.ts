/**
 * File operations of the store. Files become visible to other processes by a single rename and are read
 * whole. A missing file is `undefined`; any other error is thrown.
 */
import { mkdir, open, readdir, readFile, rename, rm, stat, unlink } from 'node:fs/promises'
import { errorCode } from '../../util/error-code.js'

/** Returns whether an error has one of these codes. */
export function hasErrorCode(error: unknown, ...codes: string[]): boolean {
  return codes.includes(errorCode(error) ?? '')
}

/** Resolves with `undefined` instead of failing with ENOENT or ENOTDIR. */
export async function ifExists<T>(operation: Promise<T>): Promise<T | undefined> {
  try {
    return await operation
  } catch (error) {
    if (hasErrorCode(error, 'ENOENT', 'ENOTDIR')) return undefined
    throw error
  }
}

/** Reads a JSON file. Its type is not checked, because only the store writes these files. */
export async function readJsonFile<T>(path: string): Promise<T | undefined> {
  const text = await ifExists(readFile(path, 'utf8'))
  // our own file, written whole and renamed into place
  return text === undefined ? undefined : (JSON.parse(text) as T)
}

/** Writes JSON to `temp` and renames it to `path`, so that readers see the old file or the new one. */
export async function writeJsonFile(temp: string, path: string, value: unknown): Promise<void> {
  const file = await open(temp, 'w', 0o600)
  try {
    await file.writeFile(JSON.stringify(value))
  } finally {
    await file.close()
  }
  await rename(temp, path)
}

/** Creates a directory and its parents, accessible only to the user. */
export async function makeDir(path: string): Promise<void> {
  await mkdir(path, { recursive: true, mode: 0o700 })
}

/** Lists the names in a directory; empty if it does not exist. */
export async function listDir(path: string): Promise<string[]> {
  return (await ifExists(readdir(path))) ?? []
}

/** Removes a file if it exists. */
export async function removeFile(path: string): Promise<void> {
  await ifExists(unlink(path))
}

/** Removes a file or directory tree if it exists. */
export async function removeTree(path: string): Promise<void> {
  await rm(path, { recursive: true, force: true })
}

/** Returns whether a path exists. */
export async function pathExists(path: string): Promise<boolean> {
  return (await ifExists(stat(path))) !== undefined
}
