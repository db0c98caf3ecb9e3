/** A 64 KiB file system that tests can really fill up. Requires root and Linux. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmdirSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'

export interface TinyDisk {
  readonly path: string
  /** Uses up all free blocks. Empty files can still be created. */
  fill(): void
  /** Remounts it read-only. */
  protect(): void
}

/**
 * Mounts the file system on a new directory until the test ends. Returns `undefined`, and reports a skipped
 * assertion, if mounting is not permitted.
 */
export function tinyDisk(t: Test): TinyDisk | undefined {
  const path = mkdtempSync(join(tmpdir(), 'oss-spool-tiny-'))
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', path], { stdio: 'pipe' })
  } catch (error) {
    rmdirSync(path)
    t.pass(`a file system cannot be mounted here: ${String(error)}`, { skip: true })
    return undefined
  }
  t.teardown(() => {
    execFileSync('umount', ['--lazy', path])
    rmdirSync(path)
  })
  const fill = (): void => {
    try {
      for (;;) writeFileSync(join(path, 'filling'), Buffer.alloc(4096), { flag: 'a' })
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'ENOSPC')) throw error
    }
  }
  const protect = (): void => {
    execFileSync('mount', ['-o', 'remount,ro', path], { stdio: 'pipe' })
  }
  return { path, fill, protect }
}
