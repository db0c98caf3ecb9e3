/** A disk of 64 KiB, so that it can be full for real. Needs root and Linux. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmdirSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'

export interface TinyDisk {
  readonly path: string
  /** Leaves no block free; 0-byte files can still be made. */
  fill(): void
  /** From now on nothing can be written. */
  protect(): void
}

/** Mounts it on a directory of its own until the test is over; `undefined`, and said, if refused. */
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
