/** Chooses between temp file and linked file: by the `inPlace` option at first, later by the file's name. */
import { isLinkName, LinkedFile } from './linked-file.js'
import type { SpoolFile } from './spool-file.js'
import { TempFile } from './temp-file.js'

/**
 * Creates the file of a new upload in `directory`.
 * @param host – becomes part of the file's name if several hosts share the checkpoints
 * @param inPlace – absolute path of the user's file, if it is read in place
 */
export async function createSpoolFile(
  directory: string,
  host: string | undefined,
  inPlace: string | undefined,
): Promise<SpoolFile> {
  return inPlace === undefined
    ? TempFile.create(directory, host)
    : LinkedFile.create(directory, inPlace, host)
}

/**
 * Opens the file that a checkpoint names.
 * @throws TempFileDamagedError if it is missing or not a regular file; LinkedFileChangedError
 */
export function openSpoolFile(directory: string, name: string): Promise<SpoolFile> {
  return isLinkName(name) ? LinkedFile.open(directory, name) : TempFile.open(directory, name)
}
