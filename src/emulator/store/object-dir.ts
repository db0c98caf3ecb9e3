/**
 * The directory of an object: its bodies, its record, and removal of leftovers. All functions that change something
 * require the key's lock.
 */
import { copyFile, link, rmdir } from 'node:fs/promises'
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import {
  hasErrorCode,
  ifExists,
  listDir,
  readJsonFile,
  removeFile,
  removeTree,
  rename,
  writeJsonFile,
} from './files.js'
import { keyFileName } from './layout.js'
import type { ObjectRecord } from './record.js'
import type { StoreContext } from './store-context.js'
import { packVersions, unpackVersions, type StoredVersions } from './versions.js'

/** Record file. The object exists once this file does. */
const RECORD_FILE = 'record.json'

/** Reads the versions of an object, newest first; none if it does not exist. */
export async function readVersions(dir: string): Promise<ObjectRecord[]> {
  return unpackVersions(await readJsonFile<StoredVersions>(join(dir, RECORD_FILE)))
}

/**
 * Replaces the versions `old` of an object by one rename; without new ones, removes the record. If that fails, e.g. on a
 * full disk, removes the bodies that only new versions name.
 */
export async function writeVersions(
  { workspace }: StoreContext,
  dir: string,
  old: readonly ObjectRecord[],
  versions: readonly ObjectRecord[],
): Promise<void> {
  const stored = packVersions(versions)
  try {
    if (stored === undefined) await removeFile(join(dir, RECORD_FILE))
    else await writeJsonFile(workspace.tempPath(), join(dir, RECORD_FILE), stored)
  } catch (error) {
    await removeLeftovers(dir, old)
    throw error
  }
}

/** Returns the name of an object's lock, which uploads to the key share. */
export const objectLockName = (bucket: string, key: string): string =>
  directoryLockName(bucket, keyFileName(key))

/** Returns the lock name for the name of an object's directory. */
export const directoryLockName = (bucket: string, name: string): string =>
  `object ${bucket}/${name}`

/** Bytes that will become a body, not visible to others yet. */
export type StagedBody =
  | { readonly kind: 'file'; readonly path: string }
  /** Parts with their manifest, in a directory. */
  | { readonly kind: 'parts'; readonly path: string }
  /** Discarded bytes. */
  | { readonly kind: 'none' }

/** Removes bytes that were not moved. */
export async function discardStaged(staged: StagedBody): Promise<void> {
  if (staged.kind !== 'none') await removeTree(staged.path)
}

/** Moves bytes into an object's directory under a unique name. */
export async function moveBody(dir: string, staged: StagedBody): Promise<ObjectRecord['body']> {
  if (staged.kind === 'none') return { kind: 'none' }
  const unique = randomBytes(8).toString('hex')
  const body: ObjectRecord['body'] =
    staged.kind === 'file'
      ? { kind: 'file', name: `body-${unique}` }
      : { kind: 'parts', id: `copy-${unique}` }
  await rename(staged.path, join(dir, body.kind === 'file' ? body.name : body.id))
  return body
}

/** Links a file, or copies it if the file system does not support links or has reached its limit. */
export async function linkOrCopy(from: string, to: string): Promise<true> {
  try {
    await link(from, to)
  } catch (error) {
    if (!hasErrorCode(error, 'EPERM', 'ENOTSUP', 'EMLINK', 'ENOSYS')) throw error
    await copyFile(from, to)
  }
  return true
}

/**
 * Finishes a Complete that was interrupted between writing the record and moving the parts. Only the newest version can
 * be in this state, since every change of the versions starts with this.
 */
export async function finishComplete(
  { layout }: StoreContext,
  bucket: string,
  [newest]: readonly ObjectRecord[],
): Promise<void> {
  if (newest?.body.kind !== 'parts') return
  const { key, body } = newest
  await ifExists(rename(layout.upload(bucket, body.id), join(layout.object(bucket, key), body.id)))
}

/** Removes files that no version names from an object's directory; without versions, all of it. */
export async function removeLeftovers(
  dir: string,
  versions: readonly ObjectRecord[],
): Promise<void> {
  const keep = new Set(versions.length === 0 ? [] : [RECORD_FILE])
  for (const { body } of versions) {
    if (body.kind === 'file') keep.add(body.name)
    if (body.kind === 'parts') keep.add(body.id)
  }
  for (const name of await listDir(dir))
    if (!keep.has(name)) await (name.startsWith('body-') ? removeFile : removeTree)(join(dir, name))
  if (versions.length === 0) await ifExists(rmdir(dir))
}
