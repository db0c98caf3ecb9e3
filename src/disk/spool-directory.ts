/**
 * The spool directory: one directory per upload, named by its id, and `quarantine/`. An upload is
 * removed by renaming its directory to a dotted name first (no id begins with a dot), so that what
 * a killed removal leaves behind is recognised as rubbish by whoever comes next.
 */
import { readdirSync } from 'node:fs'
import { lstat, mkdir, readdir, rename, rm, rmdir, stat, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { SpoolError } from '../errors.js'
import { mapLimit } from '../util/map-limit.js'
import {
  ignoreMissing,
  isSystemError,
  makeDirectory,
  randomSuffix,
  syncDirectory,
} from './durable-fs.js'
import { Coalescer } from '../util/coalesce.js'
import { isProbe } from './probe.js'
import { checkDirectory, isTrustedDirectory } from './ownership.js'

export const QUARANTINE = 'quarantine'
export const CHECKPOINT_FILE = 'checkpoint.json'

const REMOVED_PREFIX = '.removed-'
const REMOVED_NAME = /^\.removed-.+-[0-9a-f]{12}$/

/** Names that can be ids; other directories are none of ours, wherever the spool was put. */
const ID = /^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}$/
/** Files that an upload's directory is made of. */
const UPLOAD_FILE =
  /^(lock|checkpoint\.json(\..+\.tmp)?|spool-([A-Za-z0-9._-]+-)?\d+-[A-Za-z0-9]+)$/

/** Looks at so many directories at a time: each is a wait for the system, not work. */
export const LIST_CONCURRENCY = 16

export class SpoolDirectory {
  readonly path: string
  /** Many uploads that begin together wait for one sync. */
  readonly #directorySync = new Coalescer(() => syncDirectory(this.path))

  constructor(path: string) {
    this.path = path
  }

  /** @throws TypeError for what cannot be an id: no path ever leads out of the spool */
  directoryOf(id: string): string {
    if (!ID.test(id)) throw new TypeError(`${JSON.stringify(id)} is no id`)
    return join(this.path, id)
  }

  checkpointPath(id: string): string {
    return join(this.directoryOf(id), CHECKPOINT_FILE)
  }

  /** Makes the directory of `id`, durable when it resolves; false: it was there already. */
  async create(id: string): Promise<boolean> {
    const make = () => mkdir(this.directoryOf(id), { mode: 0o700 })
    const made = await make()
      .catch(async (error: unknown) => {
        if (!isSystemError(error, 'ENOENT')) throw error
        await makeDirectory(this.path)
        await make()
      })
      .then(
        () => true,
        (error: unknown) => {
          if (isSystemError(error, 'EEXIST')) return false
          throw error
        },
      )
    // Also when it was there: whoever made it may have died before this line.
    await this.#directorySync.run()
    return made
  }

  /** The same for an upload that is about to begin. @throws SpoolError for someone else's directory */
  async prepare(id: string): Promise<void> {
    const made = await this.create(id)
    if (made || !(await this.isForeign(id))) return
    const message = `${this.directoryOf(id)} is not the directory of an upload`
    const hint = 'Use another id, or another spool directory.'
    throw new SpoolError('ERR_SPOOL_UNREADABLE', message, { id, hint })
  }

  /** Ids of all directories that may hold an upload, in order. */
  async ids(): Promise<string[]> {
    const names = (await this.#directories(this.path)).filter(isId)
    const foreign = await mapLimit(LIST_CONCURRENCY, names, name => this.isForeign(name))
    return names.filter((_, i) => !foreign[i])
  }

  /** Whether `ids()` names it, without a look at any other. */
  async has(id: string): Promise<boolean> {
    if (!isId(id)) return false
    const stats = await lstat(join(this.path, id)).catch(ignoreMissing)
    return stats?.isDirectory() === true && !(await this.isForeign(id))
  }

  /**
   * True for a directory that is someone else's, since the spool was put where other things are:
   * it is never locked, tidied, moved or removed. One that cannot be looked into counts as ours.
   */
  async isForeign(id: string): Promise<boolean> {
    const names = await readdir(this.directoryOf(id)).catch((): string[] => [])
    const complete = names.includes('lock') && names.includes(CHECKPOINT_FILE)
    return !complete && names.some(name => !UPLOAD_FILE.test(name))
  }

  /** Removes an upload whose lock the caller holds: temp files first, checkpoint last (rule 6). */
  async remove(id: string): Promise<void> {
    const away = join(this.path, `${REMOVED_PREFIX}${id}-${randomSuffix()}`)
    await rename(this.directoryOf(id), away)
    // Its name is gone, so it is: what cannot be removed now is only rubbish for the next sweep.
    await removeUploadDirectory(away).catch(() => undefined)
  }

  /**
   * Moves an upload whose lock the caller holds to the quarantine; resolves to its new path.
   * @param name what it is to be called there
   */
  async quarantine(id: string, name = quarantineName(id)): Promise<string> {
    const folder = join(this.path, QUARANTINE)
    await mkdir(folder, { recursive: true, mode: 0o700 })
    checkDirectory(folder)
    const away = join(folder, name)
    await rename(this.directoryOf(id), away)
    await syncDirectory(folder)
    await syncDirectory(this.path)
    return away
  }

  /** What is in the quarantine: names and when they came there. */
  async quarantined(): Promise<{ name: string; path: string; since: number }[]> {
    const folder = join(this.path, QUARANTINE)
    const found = []
    if (!isTrustedDirectory(folder)) return []
    for (const name of await this.#directories(folder)) {
      const path = join(folder, name)
      const stats = await stat(path).catch(ignoreMissing) // pruned by another process meanwhile
      if (stats !== undefined) found.push({ name, path, since: stats.ctimeMs })
    }
    return found
  }

  async discardQuarantined(name: string): Promise<void> {
    await rm(join(this.path, QUARANTINE, name), { recursive: true, force: true })
  }

  /** Finishes removals and probes that were killed half-way. */
  async sweep(): Promise<void> {
    const names = await readdir(this.path).catch(ignoreMissing)
    for (const name of names ?? []) {
      // What cannot be removed now is only rubbish: the next sweep tries again.
      const path = join(this.path, name)
      if (REMOVED_NAME.test(name)) await removeUploadDirectory(path).catch(() => undefined)
      else if (isProbe(name)) await unlink(path).catch(() => undefined)
    }
  }

  /** Removes files of an upload that nothing names any more; the caller holds its lock. */
  async removeOtherFiles(id: string, named: readonly string[]): Promise<void> {
    const directory = this.directoryOf(id)
    const keep = new Set([...named, 'lock', CHECKPOINT_FILE])
    for (const entry of await readdir(directory)) {
      if (UPLOAD_FILE.test(entry) && !keep.has(entry))
        await unlink(join(directory, entry)).catch(ignoreMissing)
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

/** Where `quarantine` puts an upload now. */
export function quarantineName(id: string): string {
  return `${id}-${new Date().toISOString().replaceAll(':', '-')}`
}

function isId(name: string): boolean {
  return ID.test(name) && name !== QUARANTINE
}

/** @throws UntrustedFileError: what another user or a link has put there is not emptied by us */
async function removeUploadDirectory(path: string): Promise<void> {
  checkDirectory(path)
  const names = readdirSync(path)
  const last = names.filter(name => name === CHECKPOINT_FILE)
  for (const name of [...names.filter(other => other !== CHECKPOINT_FILE), ...last]) {
    const file = join(path, name)
    // Files are all there should be; `rm` for what is not, since it asks the system thrice as often.
    await unlink(file).catch(() => rm(file, { recursive: true, force: true }))
  }
  await rmdir(path)
}
