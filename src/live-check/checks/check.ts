/** A check: steps that are run in the same way against OSS and the emulator. */
import type { Reply, Target } from '../target.js'

export interface Check {
  readonly name: string
  run(target: Target): Promise<void>
}

/** Bytes of an object or part; the same in every run. */
export function content(size: number, seed = 'oss-spool'): Buffer {
  return Buffer.alloc(size, seed)
}

/** Returns the ETag of a reply with its quotes. */
export function etagOf({ headers }: Reply): string {
  const { etag } = headers
  return typeof etag === 'string' ? etag : '"none"'
}
