/**
 * The spool directory: one directory per upload, named by its id, and `quarantine/`. An upload is
 * removed by renaming its directory to a dotted name first (no id begins with a dot), so that what
 * a killed removal leaves behind is recognised as rubbish by whoever comes next.
 */
import { randomBytes } from 'node:crypto'
import { mkdir, readdir, rename, rm, stat, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { ignoreMissing, isSystemError, syncDirectory } from './durable.js'

export const QUARANTINE = 'quarantine'
export const CHECKPOINT_FILE = 'checkpoint.json'

const REMOVED = '.removed-'

export class SpoolDirectory {
  readonly path: string

  constructor(path: string) {
    this.path = path
  }

  directoryOf(id: string): string {
    return join(this.path, id)
  }

  checkpointOf(id: string): string {
    return join(this.path, id, CHECKPOINT_FILE)
  }

  /** Makes the directory of `id`; durable when it resolves. */
  async create(id: string): Promise<void> {
    await mkdir(this.path, { recursive: true, mode: 0o700 })
    try {
      await mkdir(this.directoryOf(id), { mode: 0o700 })
    } catch (error) {
      if (!isSystemError(error, 'EEXIST')) throw error
      return
    }
    await syncDirectory(this.path)
  }

  async has(id: string): Promise<boolean> {
    const found = await stat(this.checkpointOf(id)).catch(ignoreMissing)
    return found !== undefined
  }

  /** Ids of all directories that may hold an upload, in order. */
  async ids(): Promise<string[]> {
    return (await this.#directories(this.path)).filter(
      name => !name.startsWith('.') && name !== QUARANTINE,
    )
  }

  /** Removes an upload whose lock the caller holds: temp files first, checkpoint last (rule 6). */
  async remove(id: string): Promise<void> {
    const away = join(this.path, `${REMOVED}${id}-${randomBytes(6).toString('hex')}`)
    await rename(this.directoryOf(id), away)
    await discard(away)
  }

  /** Moves an upload whose lock the caller holds to the quarantine; resolves to its new path. */
  async quarantine(id: string): Promise<string> {
    const folder = join(this.path, QUARANTINE)
    await mkdir(folder, { recursive: true, mode: 0o700 })
    const time = new Date().toISOString().replaceAll(':', '-')
    const away = join(folder, `${id}-${time}`)
    await rename(this.directoryOf(id), away)
    await syncDirectory(folder)
    await syncDirectory(this.path)
    return away
  }

  /** What is in the quarantine: names and when they came there. */
  async quarantined(): Promise<{ name: string; path: string; since: number }[]> {
    const folder = join(this.path, QUARANTINE)
    const names = await this.#directories(folder)
    return Promise.all(
      names.map(async name => {
        const path = join(folder, name)
        return { name, path, since: (await stat(path)).ctimeMs }
      }),
    )
  }

  async discardQuarantined(name: string): Promise<void> {
    await rm(join(this.path, QUARANTINE, name), { recursive: true, force: true })
  }

  /** Finishes removals that were killed half-way. */
  async sweep(): Promise<void> {
    for (const name of await this.#directories(this.path)) {
      if (name.startsWith(REMOVED)) await discard(join(this.path, name))
    }
  }

  /** Removes files of an upload that nothing names any more; the caller holds its lock. */
  async tidy(id: string, named: readonly string[]): Promise<void> {
    const directory = this.directoryOf(id)
    const keep = new Set([...named, 'lock', CHECKPOINT_FILE])
    for (const entry of await readdir(directory)) {
      if (!keep.has(entry)) await unlink(join(directory, entry)).catch(ignoreMissing)
    }
  }

  async #directories(path: string): Promise<string[]> {
    const entries = await readdir(path, { withFileTypes: true }).catch((error: unknown) => {
      if (isSystemError(error, 'ENOENT')) return []
      throw error
    })
    return entries
      .filter(entry => entry.isDirectory())
      .map(entry => entry.name)
      .toSorted()
  }
}

async function discard(path: string): Promise<void> {
  for (const name of (await readdir(path).catch(ignoreMissing)) ?? []) {
    if (name !== CHECKPOINT_FILE) await rm(join(path, name), { recursive: true, force: true })
  }
  await rm(path, { recursive: true, force: true })
}
