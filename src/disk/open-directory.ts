/**
 * A directory that stays the same one while its content is removed. Where other users may rename entries of the
 * spool directory, a path can lead elsewhere from one call to the next; an open descriptor cannot.
 */
import * as fs from 'node:fs'
import { rmdir, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { ignoreMissing } from './durable-fs.js'
import { checkDirectory, checkOwner, UntrustedFileError } from './trusted-files.js'

const { O_DIRECTORY, O_NOFOLLOW, O_RDONLY } = fs.constants

export class OpenDirectory {
  readonly #path: string
  readonly #fd: number
  readonly #stats: fs.BigIntStats
  /** Path of the descriptor itself, where the system has one. */
  readonly #fdPath: string | undefined

  private constructor(path: string, fd: number) {
    this.#path = path
    this.#fd = fd
    this.#stats = fs.fstatSync(fd, { bigint: true })
    const fdPath = `/proc/self/fd/${fd}`
    this.#fdPath = this.#isAt(fdPath) ? fdPath : undefined
  }

  /**
   * Opens a directory of this user or root, without following a link in place of it.
   * @throws UntrustedFileError, system errors
   */
  static open(path: string): OpenDirectory {
    checkDirectory(path) // before it is opened: Windows has neither flag
    const directory = new OpenDirectory(
      path,
      fs.openSync(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW),
    )
    try {
      checkOwner(fs.fstatSync(directory.#fd), path)
      return directory
    } catch (error) {
      directory.close()
      throw error
    }
  }

  /** Returns whether `other` is the same directory. */
  equals(other: OpenDirectory): boolean {
    return this.#stats.ino === other.#stats.ino && this.#stats.dev === other.#stats.dev
  }

  names(): string[] {
    return fs.readdirSync(this.#here())
  }

  /** Returns a path of an entry that is valid for the next call only. @throws UntrustedFileError */
  entry(name: string): string {
    return join(this.#here(), name)
  }

  /** Checks the owner of every entry. @throws UntrustedFileError */
  checkEntries(): void {
    for (const name of this.names()) {
      const stats = fs.lstatSync(this.entry(name), { throwIfNoEntry: false })
      if (stats !== undefined) checkOwner(stats, join(this.#path, name))
    }
  }

  /** Removes an entry and everything in it. Links are removed, not followed. @throws UntrustedFileError */
  async remove(name: string): Promise<void> {
    const stats = fs.lstatSync(this.entry(name), { throwIfNoEntry: false })
    if (stats === undefined) return
    checkOwner(stats, join(this.#path, name))
    if (!stats.isDirectory()) return unlink(this.entry(name)).catch(ignoreMissing)
    const directory = OpenDirectory.open(this.entry(name))
    try {
      for (const inner of directory.names()) await directory.remove(inner)
    } finally {
      directory.close()
    }
    await rmdir(this.entry(name))
  }

  close(): void {
    fs.closeSync(this.#fd)
  }

  #here(): string {
    if (this.#fdPath !== undefined) return this.#fdPath
    if (this.#isAt(this.#path)) return this.#path
    throw new UntrustedFileError(`${this.#path} was replaced while it was being removed`)
  }

  #isAt(path: string): boolean {
    // Follows the link in /proc. A link in place of the directory leads to another inode.
    const there = fs.statSync(path, { bigint: true, throwIfNoEntry: false })
    return there?.ino === this.#stats.ino && there.dev === this.#stats.dev
  }
}
