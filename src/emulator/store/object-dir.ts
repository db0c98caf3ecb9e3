/**
 * The directory of an object: what belongs in it and what is left over. All of this is done under
 * the key's lock.
 */
import { copyFile, link, mkdir, open, rename, rmdir } from 'node:fs/promises'
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { hasErrorCode, ifExists, listDir, removeTree } from './files.js'
import { keyFileName } from './layout.js'
import type { ObjectRecord } from './record.js'
import type { StoreContext } from './context.js'

/** The file that makes the directory an object. */
export const RECORD_FILE = 'record.json'

/** What the lock on an object is asked for; uploads to the key take the same one. */
export const objectLockName = (bucket: string, key: string): string =>
  directoryLockName(bucket, keyFileName(key))

/** The same by the name of the object's directory. */
export const directoryLockName = (bucket: string, name: string): string =>
  `object ${bucket}/${name}`

/** Bytes that are to become a body, where nobody else sees them. */
export type StagedBody =
  | { readonly kind: 'file'; readonly path: string }
  /** Parts with their manifest, in a directory. */
  | { readonly kind: 'parts'; readonly path: string }
  /** Thrown away. */
  | { readonly kind: 'none' }

/** Makes the directory of an object; its bucket's must be there. */
export async function makeObjectDir(dir: string): Promise<void> {
  try {
    await mkdir(dir, { mode: 0o700 })
  } catch (error) {
    if (!hasErrorCode(error, 'EEXIST')) throw error
  }
}

/** Moves bytes into an object's directory, under a name of their own. */
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

/** One more name for a file; a copy of it where the file system has no links, or no more of them. */
export async function linkOrCopy(from: string, to: string): Promise<true> {
  try {
    await link(from, to)
  } catch (error) {
    if (!hasErrorCode(error, 'EPERM', 'ENOTSUP', 'EMLINK', 'ENOSYS')) throw error
    await copyFile(from, to)
  }
  return true
}

/** Finishes a Complete that was cut between its record and the move of its parts. Under the lock. */
export async function finishComplete(
  { layout }: StoreContext,
  bucket: string,
  { key, body }: ObjectRecord,
): Promise<void> {
  if (body.kind !== 'parts') return
  await ifExists(rename(layout.upload(bucket, body.id), join(layout.object(bucket, key), body.id)))
}

/** Removes from an object's directory what its record does not name; all of it without a record. */
export async function removeLeftovers(
  dir: string,
  record: ObjectRecord | undefined,
): Promise<void> {
  const keep = new Set<string>()
  if (record !== undefined) {
    keep.add(RECORD_FILE)
    if (record.body.kind === 'file') keep.add(record.body.name)
    if (record.body.kind === 'parts') keep.add(record.body.id)
  }
  for (const name of await listDir(dir)) if (!keep.has(name)) await removeTree(join(dir, name))
  if (record === undefined) await ifExists(rmdir(dir))
}

/** Creates an empty file: what stands for bytes that were thrown away. */
export async function createEmptyFile(path: string): Promise<void> {
  await (await open(path, 'w', 0o600)).close()
}
