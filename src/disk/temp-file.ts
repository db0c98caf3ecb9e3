/**
 * The temp file: the bytes of one upload, appended in batches and read back by region through one
 * descriptor, so that a rename or a new file of the same name can never change what is sent. It may
 * be a link to a file of the user's (`link.ts`), which is only ever read.
 */
import * as fs from 'node:fs'
import { unlink } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { promisify } from 'node:util'
import { sparse, trim } from 'fs-native-extensions'
import { fileSync as makeTempFile } from 'tmp-promise'
import { ignoreMissing, isSystemError } from './durable-fs.js'
import { isLink, isSameFile, LinkedFileChangedError, makeLink } from './linked-file.js'
import { NOFOLLOW_NONBLOCK, NONBLOCK } from './ownership.js'

const writev = promisify(fs.writev)
const read = promisify(fs.read)
const close = promisify(fs.close)
const fdatasync = promisify(fs.fdatasync)
const ftruncate = promisify(fs.ftruncate)
const fstat = promisify(fs.fstat)
const bigStat = (fd: number): Promise<fs.BigIntStats> => promisify(fs.fstat)(fd, { bigint: true })

/** One read from the disk and one write to a socket; what several parts read fits a processor's cache. */
const READ_BYTES = 512 * 1024

/**
 * After so many bytes the disk is asked to take them, while the source goes on: so the seal waits for
 * few.
 */
const SYNC_EVERY_BYTES = 32 * 1024 * 1024

/**
 * Buffers that regions are read into, again and again: the pages of a fresh one cost more to get than
 * to fill.
 */
const idleBuffers: Buffer[] = []
const MAX_IDLE_BUFFERS = 32

/** The temp file ends before a byte that the checkpoint knows of, or is not there at all. */
export class TempFileDamagedError extends Error {
  override readonly name = 'TempFileDamagedError'
}

export class TempFile {
  readonly #fd: number
  readonly #path: string
  #size: number
  #synced = 0
  #syncing: Promise<void> = Promise.resolve()
  #sparse: Promise<void> | undefined

  private constructor(fd: number, path: string, size: number) {
    this.#fd = fd
    this.#path = path
    this.#size = size
    this.#synced = size
  }

  /**
   * A new, empty one in `directory`; its entry is durable with the checkpoint that is written next.
   * @param host is in its name, where many share the checkpoints
   */
  static create(directory: string, host?: string): TempFile {
    const prefix = host === undefined ? 'spool' : `spool-${host}`
    const options = { tmpdir: directory, keep: true, mode: 0o600, prefix }
    // Not the other form, which goes to a thread and back for each directory above this one.
    const { fd, name } = makeTempFile(options)
    return new TempFile(fd, name, 0)
  }

  /**
   * A file of the user's in the place of a temp file: `append` takes the bytes that are there already,
   * in their order, and writes nothing.
   * @param path absolute
   */
  static async link(directory: string, path: string): Promise<TempFile> {
    const file = await TempFile.open(directory, await makeLink(directory, path))
    file.#size = 0
    return file
  }

  /**
   * @throws TempFileDamagedError when it is gone or not a plain file; LinkedFileChangedError for a file of the
   * user's that is not the same any more
   */
  static async open(directory: string, name: string): Promise<TempFile> {
    if (isLink(name)) return TempFile.#openLink(directory, name)
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

  /** For reading only: nothing here can ever change it. */
  static async #openLink(directory: string, name: string): Promise<TempFile> {
    const path = join(directory, name)
    const flags = fs.constants.O_RDONLY | NONBLOCK
    const fd = await promisify(fs.open)(path, flags).catch((cause: unknown) => {
      if (!isSystemError(cause, 'ENOENT', 'ENXIO')) throw cause
      throw new LinkedFileChangedError('the file is gone', { cause })
    })
    const file = new TempFile(fd, path, Number((await bigStat(fd)).size))
    try {
      await file.#checkLink()
      return file
    } catch (error) {
      await close(fd)
      throw error
    }
  }

  get name(): string {
    return basename(this.#path)
  }

  get path(): string {
    return this.#path
  }

  /** Bytes written. */
  get size(): number {
    return this.#size
  }

  /** Appends all of `chunks`; a short write is continued, and fails on its own if the disk is full. */
  async append(chunks: readonly Uint8Array[]): Promise<void> {
    if (isLink(this.name)) {
      this.#size += chunks.reduce((sum, chunk) => sum + chunk.length, 0)
      return
    }
    let rest = chunks
    while (rest.length > 0) {
      const { bytesWritten } = await writev(this.#fd, rest, this.#size)
      this.#size += bytesWritten
      rest = dropBytes(rest, bytesWritten)
    }
    if (this.#size - this.#synced >= SYNC_EVERY_BYTES) this.#sync().catch(() => undefined) // told by `sync`
  }

  /** Reads exactly `[start, start + size)`. @throws TempFileDamagedError when the file is shorter */
  async read(start: number, size: number): Promise<Buffer> {
    const buffer = Buffer.allocUnsafe(size)
    await this.#fill(buffer, start)
    return buffer
  }

  /** Exactly `[start, start + size)`, in order; each chunk is valid until the next is asked for. */
  async *chunks(start: number, size: number): AsyncGenerator<Buffer, void, undefined> {
    const buffer = idleBuffers.pop() ?? Buffer.allocUnsafeSlow(READ_BYTES)
    for (let done = 0; done < size; done += READ_BYTES) {
      const chunk = buffer.subarray(0, size - done)
      await this.#fill(chunk, start + done)
      yield chunk
    }
    // Not when it was broken off: then the socket may still hold it.
    if (idleBuffers.length < MAX_IDLE_BUFFERS) idleBuffers.push(buffer)
  }

  /** Cuts what follows the first `size` bytes. */
  async truncate(size: number): Promise<void> {
    if (!isLink(this.name)) await ftruncate(this.#fd, size)
    this.#size = size
  }

  /**
   * Gives the blocks of `[start, end)` back to the disk. What was there reads as zeros from then on, so
   * whoever calls this has written down that it is gone. Both ends are taken to be those of blocks.
   */
  async free(start: number, end: number): Promise<void> {
    this.#sparse ??= sparse(this.#fd)
    await this.#sparse
    await trim(this.#fd, start, end - start)
  }

  /** Resolves when every byte is on the disk. */
  async sync(): Promise<void> {
    await this.#sync()
    if (isLink(this.name)) await this.#checkLink()
  }

  /** What it means when its bytes are not what the checkpoint says. */
  damagedError(message: string): Error {
    return isLink(this.name)
      ? new LinkedFileChangedError(message)
      : new TempFileDamagedError(message)
  }

  /** Also by its path: another file may have taken its place. */
  async #checkLink(): Promise<void> {
    const found = await bigStat(this.#fd)
    const there = await promisify(fs.stat)(this.#path, { bigint: true }).catch(ignoreMissing)
    const same = there !== undefined && isSameFile(this.name, there) && isSameFile(this.name, found)
    if (!same || Number(found.size) !== this.#size) throw this.damagedError('the file has changed')
  }

  /** One after the other; once one has failed, all do: the system tells of lost pages only once. */
  #sync(): Promise<void> {
    this.#synced = this.#size
    return (this.#syncing = this.#syncing.then(() => fdatasync(this.#fd)))
  }

  async close(): Promise<void> {
    await this.#syncing.catch(() => undefined) // told by `sync`
    await close(this.#fd)
  }

  async remove(): Promise<void> {
    await unlink(this.#path).catch(ignoreMissing)
  }

  async #fill(buffer: Buffer, start: number): Promise<void> {
    for (let done = 0; done < buffer.length;) {
      const { bytesRead } = await read(this.#fd, buffer, done, buffer.length - done, start + done)
      if (bytesRead === 0) throw this.damagedError(`The temp file ends at byte ${start + done}`)
      done += bytesRead
    }
  }
}

function dropBytes(chunks: readonly Uint8Array[], count: number): readonly Uint8Array[] {
  let i = 0
  for (; i < chunks.length && count >= chunks[i]!.length; i++) count -= chunks[i]!.length
  if (i === chunks.length) return []
  return [chunks[i]!.subarray(count), ...chunks.slice(i + 1)]
}
