/** The temp file: the bytes of one upload, appended in batches and read back by region. */
import * as fs from 'node:fs'
import { unlink } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { promisify } from 'node:util'
import { sparse, trim } from 'fs-native-extensions'
import { fileSync as makeTempFile } from 'tmp-promise'
import { ignoreMissing, isSystemError } from './durable-fs.js'
import { FileReader } from './file-reader.js'
import { NOFOLLOW_NONBLOCK } from './ownership.js'
import type { SpoolFile } from './spool-file.js'

const writev = promisify(fs.writev)
const close = promisify(fs.close)
const fdatasync = promisify(fs.fdatasync)
const ftruncate = promisify(fs.ftruncate)
const fstat = promisify(fs.fstat)

/** The disk is asked to write each time this many bytes are appended, so that the seal waits for few. */
const SYNC_EVERY_BYTES = 32 * 1024 * 1024

/** The temp file ends before a byte that the checkpoint knows of, or is missing. */
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
   * Creates an empty temp file in `directory`; its entry is durable with the checkpoint that is saved next.
   * @param host – part of its name where several hosts share the checkpoints
   */
  static create(directory: string, host?: string): TempFile {
    const prefix = host === undefined ? 'spool' : `spool-${host}`
    const options = { tmpdir: directory, keep: true, mode: 0o600, prefix }
    // The promise form goes to a thread and back for each directory above this one.
    const { fd, name } = makeTempFile(options)
    return new TempFile(fd, name, 0)
  }

  /** @throws TempFileDamagedError when it is missing or not a plain file */
  static async open(directory: string, name: string): Promise<TempFile> {
    const path = join(directory, name)
    const flags = fs.constants.O_RDWR | NOFOLLOW_NONBLOCK
    const fd = await promisify(fs.open)(path, flags).catch((cause: unknown) => {
      if (!isSystemError(cause, 'ENOENT', 'ELOOP', 'EISDIR', 'ENXIO')) throw cause
      throw new TempFileDamagedError(`The temp file ${name} is gone`, { cause })
    })
    const found = await fstat(fd)
    if (found.isFile()) return new TempFile(fd, path, found.size)
    await close(fd)
    throw new TempFileDamagedError(`The temp file ${name} is not a file any more`)
  }

  get name(): string {
    return basename(this.path)
  }

  get size(): number {
    return this.#size
  }

  /** Continues after a short write, so that a full disk is reported as ENOSPC by the next one. */
  async append(chunks: readonly Uint8Array[]): Promise<void> {
    let rest = chunks
    while (rest.length > 0) {
      const { bytesWritten } = await writev(this.#fd, rest, this.#size)
      this.#size += bytesWritten
      rest = dropBytes(rest, bytesWritten)
    }
    if (this.#size - this.#synced >= SYNC_EVERY_BYTES) this.sync().catch(() => undefined) // reported by the next `sync`
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

  /** Syncs run one after the other; after a failed one all fail: the system reports lost pages only once. */
  sync(): Promise<void> {
    this.#synced = this.#size
    return (this.#syncing = this.#syncing.then(() => fdatasync(this.#fd)))
  }

  damagedError(message: string): Error {
    return new TempFileDamagedError(message)
  }

  async close(): Promise<void> {
    await this.#syncing.catch(() => undefined) // reported by `sync`
    await close(this.#fd)
  }

  async remove(): Promise<void> {
    await unlink(this.path).catch(ignoreMissing)
  }
}

function dropBytes(chunks: readonly Uint8Array[], count: number): readonly Uint8Array[] {
  let i = 0
  for (; i < chunks.length && count >= chunks[i]!.length; i++) count -= chunks[i]!.length
  if (i === chunks.length) return []
  return [chunks[i]!.subarray(count), ...chunks.slice(i + 1)]
}
