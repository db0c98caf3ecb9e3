/** The calls we use of a library that ships without types. */
declare module 'fs-native-extensions' {
  /** A kernel lock on an open file; `false` when another open file has it. Freed by `close`. */
  export function tryLock(fd: number, options?: { shared?: boolean }): boolean
  export function unlock(fd: number): void
  /** Makes a hole of the whole blocks in a range; what is left of others reads as zeros, too. */
  export function trim(fd: number, offset: number, length: number): Promise<void>
  /** Allows holes in a file, where that is to be said first (Windows). */
  export function sparse(fd: number): Promise<void>
}
