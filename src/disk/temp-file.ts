/** The temp file: the bytes of one upload, appended in batches and read back by region. */
import * as fs from 'node:fs'
import { unlink } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { promisify } from 'node:util'
import { sparse, trim } from 'fs-native-extensions'
import { fileSync as makeTempFile } from 'tmp-promise'
import { ignoreMissing, isSystemError, systemErrorCode } from './durable-fs.js'
import { FileReader } from './file-reader.js'
import { checkOwner, NOFOLLOW_NONBLOCK } from './trusted-files.js'
import type { SpoolFile } from './spool-file.js'

const writev = promisify(fs.writev)
const close = promisify(fs.close)
const fdatasync = promisify(fs.fdatasync)
const ftruncate = promisify(fs.ftruncate)
const fstat = promisify(fs.fstat)

/** Sync in the background each time this many bytes were appended, so that few are left for the seal. */
const SYNC_EVERY_BYTES = 32 * 1024 * 1024

/**
 * The system frees the bytes of a removed file when it is closed, which takes about 0.2 ms per MiB. The end of an upload
 * waits for that up to this size, in bytes.
 */
const QUICKLY_FREED_BYTES = 1024 * 1024

/** Removed files whose bytes are being freed. */
const freeing = new Set<Promise<void>>()

/** The temp file is missing, or does not match its checkpoint. */
export class TempFileDamagedError extends Error {
  override readonly name = 'TempFileDamagedError'
}

export class TempFile implements SpoolFile {
  readonly path: string
  readonly #fd: number
  readonly #reader: FileReader
  #size: number
  #synced = 0
  #syncing: Promise<void> = Promise.resolve()
  #sparse: Promise<void> | undefined

  private constructor(fd: number, path: string, size: number) {
    this.#fd = fd
    this.path = path
    this.#reader = new FileReader(fd, message => this.damagedError(message))
    this.#size = size
    this.#synced = size
  }

  /**
   * Creates an empty temp file in `directory`. Its directory entry becomes durable with the next checkpoint.
   * @param host – becomes part of its name if several hosts share the checkpoints
   */
  static create(directory: string, host?: string): TempFile {
    const prefix = host === undefined ? 'spool' : `spool-${host}`
    const options = { tmpdir: directory, keep: true, mode: 0o600, prefix }
    // The promise version makes a round trip to a thread for each parent directory.
    const { fd, name } = makeTempFile(options)
    return new TempFile(fd, name, 0)
  }

  /**
   * Opens an existing temp file.
   * @throws TempFileDamagedError if it is missing or not a regular file; UntrustedFileError if it is another user's
   */
  static async open(directory: string, name: string): Promise<TempFile> {
    const path = join(directory, name)
    const flags = fs.constants.O_RDWR | NOFOLLOW_NONBLOCK
    const fd = await promisify(fs.open)(path, flags).catch((cause: unknown) => {
      if (!isSystemError(cause, 'ENOENT', 'ELOOP', 'EISDIR', 'ENXIO')) throw cause
      throw new TempFileDamagedError(`The temp file ${name} is missing`, { cause })
    })
    try {
      const found = await fstat(fd)
      if (!found.isFile())
        throw new TempFileDamagedError(`The temp file ${name} is not a regular file`)
      checkOwner(found, path)
      return new TempFile(fd, path, found.size)
    } catch (error) {
      await close(fd)
      throw error
    }
  }

  get name(): string {
    return basename(this.path)
  }

  get size(): number {
    return this.#size
  }

  /** Continues after a short write, so that the next write reports a full disk (ENOSPC). */
  async append(chunks: readonly Uint8Array[]): Promise<void> {
    let rest = chunks
    while (rest.length > 0) {
      const { bytesWritten } = await this.#write(rest)
      this.#size += bytesWritten
      rest = dropBytes(rest, bytesWritten)
    }
    if (this.#size - this.#synced >= SYNC_EVERY_BYTES) this.sync().catch(() => undefined) // reported by the next `sync`
  }

  async #write(chunks: readonly Uint8Array[]): Promise<{ bytesWritten: number }> {
    try {
      return await writev(this.#fd, chunks, this.#size)
    } catch (error) {
      if (freeing.size === 0 || !isSystemError(error, 'ENOSPC', 'EDQUOT')) throw error
      await Promise.all(freeing)
      return await writev(this.#fd, chunks, this.#size)
    }
  }

  read(start: number, size: number): Promise<Buffer> {
    return this.#reader.read(start, size)
  }

  chunks(start: number, size: number): AsyncIterable<Buffer> {
    return this.#reader.chunks(start, size)
  }

  async truncate(size: number): Promise<void> {
    await ftruncate(this.#fd, size)
    this.#size = size
  }

  async free(start: number, end: number): Promise<void> {
    this.#sparse ??= sparse(this.#fd)
    await this.#sparse
    await trim(this.#fd, start, end - start)
  }

  /**
   * Syncs are serialised. After a failure all later ones fail, since the system reports lost pages only once.
   */
  sync(): Promise<void> {
    this.#synced = this.#size
    return (this.#syncing = this.#syncing.then(() => fdatasync(this.#fd)))
  }

  damagedError(message: string): Error {
    return new TempFileDamagedError(message)
  }

  /** Resolves when the file is closed. That of a large removed one goes on afterwards. */
  async close(): Promise<void> {
    await this.#syncing.catch(() => undefined) // reported by `sync`
    const isRemoved = isUnlinked(this.#fd)
    const closed = close(this.#fd)
    if (!isRemoved || this.#size <= QUICKLY_FREED_BYTES) return closed
    const freed = closed.catch(() => undefined).finally(() => freeing.delete(freed)) // its bytes are of no use
    freeing.add(freed)
  }

  async remove(): Promise<void> {
    await unlink(this.path).catch(ignoreMissing)
  }
}

/** Returns whether the file has no name any more; `false` if that cannot be found out. */
function isUnlinked(fd: number): boolean {
  try {
    return fs.fstatSync(fd).nlink === 0
  } catch (error) {
    if (systemErrorCode(error) === undefined) throw error
    return false
  }
}

function dropBytes(chunks: readonly Uint8Array[], count: number): readonly Uint8Array[] {
  let i = 0
  for (; i < chunks.length && count >= chunks[i]!.length; i++) count -= chunks[i]!.length
  if (i === chunks.length) return []
  return [chunks[i]!.subarray(count), ...chunks.slice(i + 1)]
}
