/** Types of the functions we use; the package has none. */
declare module 'fs-native-extensions' {
  /** Takes a kernel lock on an open file. Returns `false` if another open file holds it. Released by `close`. */
  export function tryLock(fd: number, options?: { shared?: boolean }): boolean
  export function unlock(fd: number): void
  /** Punches a hole for the whole blocks in a range. The range's bytes in partial blocks also read as zeros. */
  export function trim(fd: number, offset: number, length: number): Promise<void>
  /** Marks a file as sparse, which Windows requires before punching holes. */
  export function sparse(fd: number): Promise<void>
}
