/**
 * A directory that stays the same one while its content is removed. Where other users may rename entries of the
 * spool directory, a path can lead elsewhere from one call to the next; an open descriptor cannot. Node has no
 * `unlinkat`, so entries are reached through `/proc/self/fd`. Systems without it compare the directory at the path
 * before each call, which leaves a moment for a swap.
 */
import * as fs from 'node:fs'
import { rename, rmdir, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { ignoreMissing } from './durable-fs.js'
import { checkDirectory, checkOwner, UntrustedFileError } from './trusted-files.js'

const { O_DIRECTORY, O_NOFOLLOW, O_RDONLY } = fs.constants // the first two are undefined on Windows

export class OpenDirectory {
  /** Where it was opened or moved to. */
  #path: string
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
    return OpenDirectory.#openAt(path, path)
  }

  /** @param at – leads to the directory now, unlike `path`, which may lead to another one */
  static #openAt(at: string, path: string): OpenDirectory {
    const fd = fs.openSync(at, O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
    try {
      const directory = new OpenDirectory(path, fd)
      checkOwner(directory.#stats, path)
      return directory
    } catch (error) {
      fs.closeSync(fd)
      throw error
    }
  }

  /** Renames what is at the path of this directory. If that is another one, this one is still open. */
  async moveTo(path: string): Promise<void> {
    await rename(this.#path, path)
    this.#path = path
  }

  names(): string[] {
    return fs.readdirSync(this.#here())
  }

  /** Returns a path of an entry that is valid for the next call only. @throws UntrustedFileError */
  entry(name: string): string {
    return join(this.#here(), name)
  }

  /** Checks the owner of every entry. Returns their names. @throws UntrustedFileError */
  checkEntries(): string[] {
    const names = this.names()
    for (const name of names) {
      const stats = fs.lstatSync(this.entry(name), { throwIfNoEntry: false })
      if (stats !== undefined) checkOwner(stats, join(this.#path, name))
    }
    return names
  }

  /** Removes an entry and everything in it. Links are removed, not followed. @throws UntrustedFileError */
  async remove(name: string): Promise<void> {
    const stats = fs.lstatSync(this.entry(name), { throwIfNoEntry: false })
    if (stats === undefined) return
    const path = join(this.#path, name)
    checkOwner(stats, path)
    if (!stats.isDirectory()) return unlink(this.entry(name)).catch(ignoreMissing)
    const directory = OpenDirectory.#openAt(this.entry(name), path)
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
    if (this.#is(fs.lstatSync(this.#path, { bigint: true }))) return this.#path
    throw new UntrustedFileError(`${this.#path} was replaced by another directory`)
  }

  /** Follows the link in `/proc`. */
  #isAt(fdPath: string): boolean {
    try {
      return this.#is(fs.statSync(fdPath, { bigint: true }))
    } catch {
      return false // not on this system, or not in this sandbox
    }
  }

  #is({ ino, dev }: fs.BigIntStats): boolean {
    return ino === this.#stats.ino && dev === this.#stats.dev
  }
}
