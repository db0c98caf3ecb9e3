/** The two calls we use of a library that ships without types. */
declare module 'fs-native-extensions' {
  /** A kernel lock on an open file; `false` when another open file has it. Freed by `close`. */
  export function tryLock(fd: number, options?: { shared?: boolean }): boolean
  export function unlock(fd: number): void
}
