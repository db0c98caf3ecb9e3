/**
 * The bytes of one upload: a temp file of our own (`temp-file.ts`), or the user's file, read where it is
 * (`linked-file.ts`). Both are read through one descriptor, so that a rename or a new file of the same name
 * can never change what is sent.
 */
export interface SpoolFile {
  /** File name in the upload's directory. */
  readonly name: string
  /** Absolute path. */
  readonly path: string
  /** Bytes appended so far. */
  readonly size: number
  /** Appends all of `chunks`; rejects when the disk is full. */
  append(chunks: readonly Uint8Array[]): Promise<void>
  /** Reads exactly `[start, start + size)`. @throws damagedError() when the file is shorter */
  read(start: number, size: number): Promise<Buffer>
  /** Reads exactly `[start, start + size)`, in order; each chunk is valid until the next is requested. */
  chunks(start: number, size: number): AsyncIterable<Buffer>
  /** Removes everything after the first `size` bytes. */
  truncate(size: number): Promise<void>
  /**
   * Returns the blocks of `[start, end)` to the file system. They read as zeros from then on, so the caller
   * has recorded that they are gone. Both ends are taken to be block boundaries.
   */
  free(start: number, end: number): Promise<void>
  /** Resolves when every byte is on the disk. */
  sync(): Promise<void>
  /** The error to throw when the bytes are not those of the checkpoint. */
  damagedError(message: string): Error
  close(): Promise<void>
  /** Removes the file (of a linked file, the link). */
  remove(): Promise<void>
}
