/** Space on the disk of a spool directory. */
import { lstat, readdir, statfs } from 'node:fs/promises'
import { join } from 'node:path'
import { mapLimit } from '../util/map-limit.js'

/** Unit of `stat.blocks`, on every system. */
const BLOCK_BYTES = 512
const CONCURRENCY = 16

export interface DiskUsage {
  /** Bytes that the files of the directory occupy. */
  readonly used: number
  /** Bytes of the file system that are free for this user. */
  readonly free: number
  /** Bytes of the file system. */
  readonly size: number
}

/** Reads the usage of `directory`. Files may disappear meanwhile. @throws if it does not exist */
export async function readDiskUsage(directory: string): Promise<DiskUsage> {
  const { bsize, bavail, blocks } = await statfs(directory)
  const names = await readdir(directory, { recursive: true })
  const sizes = await mapLimit(CONCURRENCY, names, async name => {
    const stats = await lstat(join(directory, name)).catch(() => undefined)
    return stats === undefined ? 0 : stats.blocks * BLOCK_BYTES
  })
  const used = sizes.reduce((sum, each) => sum + each, 0)
  return { used, free: bavail * bsize, size: blocks * bsize }
}
