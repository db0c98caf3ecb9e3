import { rm } from 'node:fs/promises'

/** Removes a directory in which a sink that was just destroyed, or a process that was killed, may still create a file. */
export function removeDirectory(path: string): Promise<void> {
  return rm(path, { recursive: true, force: true, maxRetries: 10 })
}
