/**
 * The user's file, read in place (`--in-place`). A symbolic link takes the place of the temp file, so
 * removing or quarantining an upload affects the link and never the file. The link's name contains the
 * device, inode and mtime of the file, which must not change.
 */
import * as fs from 'node:fs'
import { stat, symlink, unlink } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { promisify } from 'node:util'
import { ignoreMissing, isSystemError, randomSuffix, systemErrorCode } from './durable-fs.js'
import { FileReader } from './file-reader.js'
import { checkOwner, NONBLOCK } from './trusted-files.js'
import type { SpoolFile } from './spool-file.js'

const close = promisify(fs.close)
const fdatasync = promisify(fs.fdatasync)
const bigStat = (fd: number): Promise<fs.BigIntStats> => promisify(fs.fstat)(fd, { bigint: true })

/** The file was changed, replaced or removed since it was read: its sealed bytes are lost. */
export class LinkedFileChangedError extends Error {
  override readonly name = 'LinkedFileChangedError'
  readonly code = 'ERR_FILE_CHANGED'
}

/** A system call on the file failed. The disk of the spool directory has no part in it. */
export class LinkedFileFailedError extends Error {
  override readonly name = 'LinkedFileFailedError'
  readonly code = 'ERR_FILE_FAILED'
}

/** Codes of a process that has no descriptors left, which concern no file. */
const TOO_MANY_FILES = ['EMFILE', 'ENFILE']

/** Codes of file systems that write nothing, such as ISO 9660 and squashfs: there is nothing to sync. */
const NO_SYNC = ['EINVAL', 'ENOSYS', 'ENOTSUP', 'EOPNOTSUPP', 'EROFS']

/** For `.catch()` of system calls on the file. */
function failed(cause: unknown): never {
  if (systemErrorCode(cause) === undefined || isSystemError(cause, ...TOO_MANY_FILES)) throw cause
  throw new LinkedFileFailedError((cause as Error).message, { cause }) // `systemErrorCode` accepts only errors
}

const LINK_NAME = /^spool-(?:[A-Za-z0-9._-]+-)?link-(\d+)-(\d+)-(\d+)-[0-9a-f]{12}$/

/** Returns whether `name` is that of a link, not of a temp file. */
export function isLinkName(name: string): boolean {
  return LINK_NAME.test(name)
}

/** Returns whether `name` is a link in `directory` to a file that was changed, replaced or removed since. */
export async function hasLinkedFileChanged(directory: string, name: string): Promise<boolean> {
  if (!isLinkName(name)) return false
  const path = join(directory, name)
  if (fs.lstatSync(path, { throwIfNoEntry: false }) === undefined) return false // on another host
  try {
    return !isSameFile(name, await stat(path, { bigint: true }))
  } catch (error) {
    return isSystemError(error, 'ENOENT')
  }
}

/** Returns whether a file is the one whose identity is in the name of the link. */
function isSameFile(linkName: string, { dev, ino, mtimeNs }: fs.BigIntStats): boolean {
  const [, ...identity] = LINK_NAME.exec(linkName) ?? []
  return identity.join('-') === `${dev}-${ino}-${mtimeNs}`
}

export class LinkedFile implements SpoolFile {
  readonly path: string
  readonly #fd: number
  readonly #reader: FileReader
  #size: number

  private constructor(fd: number, path: string, size: number) {
    this.#fd = fd
    this.path = path
    this.#reader = new FileReader(fd, message => this.damagedError(message))
    this.#size = size
  }

  /**
   * Links the user's file into `directory`. `append` then only counts bytes and writes nothing.
   * @param path – absolute path of the user's file
   * @param host – becomes part of the link's name if several hosts share the checkpoints
   */
  static async create(directory: string, path: string, host?: string): Promise<LinkedFile> {
    const stats = await stat(path, { bigint: true }).catch(failed)
    if (!stats.isFile()) throw new LinkedFileChangedError('the file is not a regular file')
    const { dev, ino, mtimeNs } = stats
    const prefix = host === undefined ? 'spool' : `spool-${host}`
    const name = `${prefix}-link-${dev}-${ino}-${mtimeNs}-${randomSuffix()}`
    await symlink(path, join(directory, name))
    const file = await LinkedFile.open(directory, name)
    file.#size = 0
    return file
  }

  /**
   * Opens the linked file read-only. Its owner does not matter, since the user chose it.
   * @throws LinkedFileChangedError if it is missing or has changed; UntrustedFileError if the link is another user's
   */
  static async open(directory: string, name: string): Promise<LinkedFile> {
    const path = join(directory, name)
    const link = fs.lstatSync(path, { throwIfNoEntry: false })
    if (link !== undefined) checkOwner(link, path)
    const flags = fs.constants.O_RDONLY | NONBLOCK
    const fd = await promisify(fs.open)(path, flags).catch((cause: unknown) => {
      if (!isSystemError(cause, 'ENOENT', 'ENXIO')) return failed(cause)
      throw new LinkedFileChangedError('the file is gone', { cause })
    })
    const file = new LinkedFile(fd, path, Number((await bigStat(fd)).size))
    try {
      await file.#check()
      return file
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

  async append(chunks: readonly Uint8Array[]): Promise<void> {
    this.#size += chunks.reduce((sum, chunk) => sum + chunk.length, 0)
  }

  read(start: number, size: number): Promise<Buffer> {
    return this.#reader.read(start, size).catch(failed)
  }

  async *chunks(start: number, size: number): AsyncIterable<Buffer> {
    try {
      yield* this.#reader.chunks(start, size)
    } catch (error) {
      failed(error)
    }
  }

  /** Sets the number of counted bytes; the file itself is never changed. */
  async truncate(size: number): Promise<void> {
    this.#size = size
  }

  /** Never called: `maxSpoolBytes` does not apply to bytes outside the spool directory. */
  async free(): Promise<void> {
    throw new Error('A linked file is never changed')
  }

  async sync(): Promise<void> {
    await fdatasync(this.#fd).catch((error: unknown) => {
      if (!isSystemError(error, ...NO_SYNC)) failed(error)
    })
    await this.#check()
  }

  damagedError(message: string): Error {
    return new LinkedFileChangedError(message)
  }

  /** Compares both the open file and the file now at its path with the recorded identity. */
  async #check(): Promise<void> {
    const found = await bigStat(this.#fd).catch(failed)
    const there = await stat(this.path, { bigint: true }).catch(ignoreMissing).catch(failed)
    const same = there !== undefined && [there, found].every(each => isSameFile(this.name, each))
    if (!same || Number(found.size) !== this.#size) throw this.damagedError('the file has changed')
  }

  async close(): Promise<void> {
    await close(this.#fd)
  }

  async remove(): Promise<void> {
    await unlink(this.path).catch(ignoreMissing)
  }
}
