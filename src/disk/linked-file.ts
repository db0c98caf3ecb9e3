/**
 * A link in an upload's directory to a file of the user's, which is read where it is. The link stands
 * where the temp file would, so whoever removes or sets aside an upload removes the link and never
 * the file. Its name says which file it is: device, inode and time of the last change must stay what
 * they were.
 */
import type { BigIntStats } from 'node:fs'
import { stat, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { randomSuffix } from './durable-fs.js'

/** The file is not the one any more that was read: what was sealed of it is lost. */
export class LinkedFileChangedError extends Error {
  override readonly name = 'LinkedFileChangedError'
  readonly code = 'ERR_FILE_CHANGED'
}

const LINK_NAME = /^spool-link-(\d+)-(\d+)-(\d+)-[0-9a-f]{12}$/

export function isLink(name: string): boolean {
  return LINK_NAME.test(name)
}

/** Makes the link. @param path absolute @returns its name */
export async function makeLink(directory: string, path: string): Promise<string> {
  const stats = await stat(path, { bigint: true })
  if (!stats.isFile()) throw new LinkedFileChangedError('it is not a plain file')
  const { dev, ino, mtimeNs } = stats
  const name = `spool-link-${dev}-${ino}-${mtimeNs}-${randomSuffix()}`
  await symlink(path, join(directory, name))
  return name
}

/** Whether the file is still the one that the link was made to. */
export function isSameFile(name: string, { dev, ino, mtimeNs }: BigIntStats): boolean {
  const [, ...identity] = LINK_NAME.exec(name) ?? []
  return identity.join('-') === `${dev}-${ino}-${mtimeNs}`
}
