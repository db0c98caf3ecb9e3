/**
 * The port of records in Redis: what each upload is, for all machines, while its bytes lie in the spool
 * directory of one. The kernel lock there is held, too: a frozen process of this machine keeps it, and
 * the heir of a dead one need not wait for the lock in Redis to end.
 */
import { lstat, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import {
  CheckpointDamagedError,
  decodeCheckpoint,
  encodeCheckpoint,
  LaterFormatError,
  type Checkpoint,
} from '../disk/checkpoint.js'
import { Lock, ownerOf, type Owner } from '../disk/lock.js'
import { isTrustedDirectory } from '../disk/ownership.js'
import type { LockedRecord, RecordStore } from '../disk/record-store.js'
import { ignoreMissing } from '../disk/durable-fs.js'
import { quarantineName, type SpoolDirectory } from '../disk/spool-directory.js'
import { SpoolError } from '../errors.js'
import { ask, RedisFailure, textOf, textsOf } from './connection.js'
import type { Hosts } from './hosts.js'
import { fenced, parseHolder, RedisLock, type LockSettings } from './redis-lock.js'

const WRITE = fenced(`redis.call('set', KEYS[2], ARGV[2])
redis.call('sadd', KEYS[3], ARGV[3])`)
const REMOVE = fenced(`redis.call('del', KEYS[2])
redis.call('srem', KEYS[3], ARGV[2])`)
const QUARANTINE =
  fenced(`if redis.call('exists', KEYS[2]) == 1 then redis.call('rename', KEYS[2], KEYS[4]) end
redis.call('srem', KEYS[3], ARGV[2])
redis.call('zadd', KEYS[5], ARGV[3], ARGV[4])`)

export class RedisRecords implements RecordStore {
  readonly #spool: SpoolDirectory
  readonly #settings: LockSettings
  readonly #hosts: Hosts

  constructor(spool: SpoolDirectory, settings: LockSettings, hosts: Hosts) {
    this.#spool = spool
    this.#settings = settings
    this.#hosts = hosts
  }

  directoryOf(id: string): string {
    return this.#spool.directoryOf(id)
  }

  async ids(): Promise<string[]> {
    return textsOf(await this.#ask('SMEMBERS', this.#keys.ids)).toSorted()
  }

  async has(id: string): Promise<boolean> {
    return (await this.#ask('SISMEMBER', this.#keys.ids, id)) === 1
  }

  async read(id: string): Promise<Checkpoint | null> {
    const text = textOf(await this.#ask('GET', this.#keys.record(id)))
    return text === null ? null : decodeCheckpoint(text)
  }

  async owner(id: string): Promise<Owner | undefined> {
    const holder = parseHolder(await this.#ask('GET', this.#keys.lock(id)))
    return holder && { pid: holder.pid, host: holder.host }
  }

  /** `lock` does it: the directory may be missing here for an upload that is there. */
  async prepare(): Promise<void> {}

  async lock(id: string): Promise<LockedRecord | 'owned' | 'gone'> {
    await this.#reach(() => this.#hosts.announce(), id)
    await this.#spool.prepare(id)
    const kernel = await Lock.acquire(this.#spool.directoryOf(id))
    if (typeof kernel === 'string') return kernel
    let lock: RedisLock | 'owned'
    try {
      lock = await this.#reach(() => RedisLock.acquire(this.#settings, id), id)
    } catch (error) {
      await this.#leave(id, kernel)
      throw error
    }
    if (lock !== 'owned') return this.#hold(id, kernel, lock)
    await this.#leave(id, kernel)
    return 'owned'
  }

  /** Sets bytes aside that no record names any more: another host went on, or Redis lost what it had. */
  async sweep(): Promise<void> {
    await this.#spool.sweep()
    for (const id of await this.#spool.ids()) {
      const directory = this.#spool.directoryOf(id)
      if (!isTrustedDirectory(directory)) continue
      // Nobody is refused a lock because of a look at what is in order.
      if ((await ownerOf(directory)) !== undefined || !(await this.#isLeft(id))) continue
      const kernel = await Lock.acquire(directory)
      if (typeof kernel === 'string') continue
      let isLeft = false
      try {
        isLeft = await this.#isLeft(id)
      } finally {
        await this.#leave(id, kernel, isLeft)
      }
    }
  }

  async #isLeft(id: string): Promise<boolean> {
    const record = await this.read(id).catch(unlessDamaged)
    return record === null || (record !== undefined && record.host !== this.#settings.host)
  }

  async quarantined(): Promise<{ name: string; since: number }[]> {
    const listed = textsOf(await this.#ask('ZRANGE', this.#keys.quarantine, 0, -1, 'WITHSCORES'))
    const found = new Map((await this.#spool.quarantined()).map(each => [each.name, each.since]))
    for (let i = 0; i < listed.length; i += 2) found.set(listed[i] ?? '', Number(listed[i + 1]))
    return [...found].map(([name, since]) => ({ name, since }))
  }

  /** Its bytes only if they are here. */
  async discardQuarantined(name: string): Promise<void> {
    await this.#spool.discardQuarantined(name)
    await this.#ask('DEL', this.#keys.quarantined(name))
    await this.#ask('ZREM', this.#keys.quarantine, name)
  }

  #hold(id: string, kernel: Lock, lock: RedisLock): LockedRecord {
    const record = [this.#keys.record(id), this.#keys.ids]
    let isThere = true // later, its name may be that of another one's directory
    return {
      host: this.#settings.host,
      lockLost: lock.lost,
      read: async () => {
        if (lock.lost.aborted) throw lock.lost.reason
        return this.read(id)
      },
      write: async checkpoint => {
        if (checkpoint === null) throw new TypeError('There is no checkpoint to write')
        await lock.change(WRITE, record, [encodeCheckpoint(checkpoint), id])
      },
      locateBytes: checkpoint => this.#whereabouts(checkpoint),
      removeOtherFiles: named => this.#spool.removeOtherFiles(id, named),
      // The directory goes last: without it another process here would take this one for dead.
      remove: async () => {
        await this.#spool.removeOtherFiles(id, [])
        await lock.change(REMOVE, record, [id])
        isThere = false
        await this.#spool.remove(id)
      },
      quarantine: async () => {
        const name = quarantineName(id)
        const keys = [...record, this.#keys.quarantined(name), this.#keys.quarantine]
        await lock.change(QUARANTINE, keys, [id, Date.now(), name])
        isThere = false
        const where = await this.#spool.quarantine(id, name)
        return `${where} and ${this.#keys.quarantined(name)}`
      },
      release: async () => {
        await lock.release()
        if (isThere) await this.#leave(id, kernel)
        else kernel.release()
      },
    }
  }

  /**
   * A host that was set up anew under its old name does not have what it had. A disk that cannot be
   * read is another matter: what is on it is not given up.
   */
  async #whereabouts({
    id,
    host,
    upload,
    previous,
  }: Checkpoint): Promise<'here' | 'elsewhere' | 'nowhere'> {
    if (host === undefined) return 'here'
    if (host !== this.#settings.host) {
      return (await this.#reach(() => this.#hosts.isGone(host), id)) ? 'nowhere' : 'elsewhere'
    }
    for (const record of [upload, previous]) {
      if (record === undefined || record.phase === 'published') continue
      const file = join(this.#spool.directoryOf(id), record.file)
      const found = await lstat(file).catch(ignoreMissing)
      if (found === undefined) return 'nowhere'
    }
    return 'here'
  }

  /** Without bytes there is nothing for a directory to keep. */
  async #leave(id: string, kernel: Lock, isLeft = false): Promise<void> {
    try {
      const files = await readdir(this.#spool.directoryOf(id))
      if (files.every(name => name === 'lock')) await this.#spool.remove(id)
      else if (isLeft) await this.#spool.quarantine(id)
    } finally {
      kernel.release()
    }
  }

  get #keys(): LockSettings['keys'] {
    return this.#settings.keys
  }

  #ask(command: string, ...args: (string | number)[]): Promise<unknown> {
    const { connection, timeout } = this.#settings
    return this.#reach(() => ask(connection, timeout, command, ...args))
  }

  /** What is in Redis is not damaged because Redis cannot be asked (rule 10). */
  async #reach<T>(step: () => Promise<T>, id?: string): Promise<T> {
    try {
      return await step()
    } catch (error) {
      if (!(error instanceof RedisFailure)) throw error
      const message = `The checkpoints in Redis cannot be reached: ${error.message}`
      const hint = 'Nothing was changed: run it again once Redis answers.'
      throw new SpoolError('ERR_SPOOL_UNREADABLE', message, { id, hint, cause: error })
    }
  }
}

/** For `.catch()` on a read: what cannot be trusted is not missing. */
function unlessDamaged(error: unknown): undefined {
  if (error instanceof CheckpointDamagedError || error instanceof LaterFormatError) return undefined
  throw error
}
