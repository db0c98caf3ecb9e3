/**
 * The bytes of one upload: our temp file (`temp-file.ts`), or the user's file, read in place
 * (`linked-file.ts`). Both are read through one descriptor, so that a rename or a new file of the same name
 * never changes the bytes that are sent.
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
  /** Reads exactly `[start, start + size)`. @throws damagedError() if the file is shorter */
  read(start: number, size: number): Promise<Buffer>
  /** Reads exactly `[start, start + size)`, in order; each chunk is valid until the next is requested. */
  chunks(start: number, size: number): AsyncIterable<Buffer>
  /** Removes everything after the first `size` bytes. */
  truncate(size: number): Promise<void>
  /**
   * Returns the blocks of `[start, end)` to the file system. They read as zeros from then on, so the caller
   * must have recorded this. Both ends should be block boundaries.
   */
  free(start: number, end: number): Promise<void>
  /** Resolves when every byte is on disk. */
  sync(): Promise<void>
  /** Creates the error for bytes that do not match the checkpoint. */
  damagedError(message: string): Error
  close(): Promise<void>
  /** Removes the file (of a linked file, the link). */
  remove(): Promise<void>
}
