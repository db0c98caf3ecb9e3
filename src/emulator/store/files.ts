/**
 * File operations of the store. Files become visible to other processes by a single rename and are read
 * whole. A missing file is `undefined`; any other error is thrown.
 *
 * Operations on names and on records are synchronous inside: each takes some 10 µs, while the way through
 * the thread pool takes ten times that, and a request needs about thirty of them. Operations on bodies
 * (writing, removing, reading) are asynchronous, since they may take long.
 */
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  writeFileSync,
} from 'node:fs'
import { rename as replaceFile, rm, unlink } from 'node:fs/promises'
import { errorCode } from '../../util/error-code.js'
import { makeDirectories } from '../../util/make-directories.js'

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
  const text = await ifExists(readText(path))
  // our own file, written whole and renamed into place
  return text === undefined ? undefined : (JSON.parse(text) as T)
}

async function readText(path: string): Promise<string> {
  return readFileSync(path, 'utf8')
}

/**
 * Writes JSON to `temp` and renames it to `path`, so that readers see the old file or the new one. A rename that
 * replaces a file is asynchronous: ext4 writes out the new one.
 */
export async function writeJsonFile(temp: string, path: string, value: unknown): Promise<void> {
  try {
    writeFileSync(temp, JSON.stringify(value), { mode: 0o600 })
    if (existsSync(path)) await replaceFile(temp, path)
    else renameSync(temp, path)
  } catch (error) {
    await removeFile(temp)
    throw error
  }
}

/** Creates an empty file, which must not exist. */
export async function createEmptyFile(path: string): Promise<void> {
  writeFileSync(path, '', { flag: 'wx', mode: 0o600 })
}

/** Renames a file or directory to a name that does not exist. */
export async function rename(from: string, to: string): Promise<void> {
  renameSync(from, to)
}

/** Creates a directory and its parents, accessible only to the user. */
export async function makeDir(path: string): Promise<void> {
  try {
    await makeChildDir(path)
  } catch (error) {
    if (!hasErrorCode(error, 'ENOENT')) throw error
    await makeDirectories(path)
  }
}

/** Creates a directory unless it exists. Its parent must exist. */
export async function makeChildDir(path: string): Promise<void> {
  try {
    mkdirSync(path, { mode: 0o700 })
  } catch (error) {
    if (!hasErrorCode(error, 'EEXIST')) throw error
  }
}

/** Lists the names in a directory; empty if it does not exist. */
export async function listDir(path: string): Promise<string[]> {
  return (await ifExists(readNames(path))) ?? []
}

async function readNames(path: string): Promise<string[]> {
  return readdirSync(path)
}

/** Removes a file if it exists. */
export async function removeFile(path: string): Promise<void> {
  if (existsSync(path)) await ifExists(unlink(path))
}

/** Removes a file or directory tree if it exists. */
export async function removeTree(path: string): Promise<void> {
  await rm(path, { recursive: true, force: true })
}
