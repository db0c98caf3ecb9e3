/**
 * Record store in Redis. Records are shared by all machines, while the bytes of an upload are in the spool
 * directory of one host. The kernel lock of that directory is held as well: a frozen process of this machine
 * keeps it, and the successor of a dead one need not wait until the Redis lock expires.
 */
import { lstat, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import {
  CheckpointDamagedError,
  decodeCheckpoint,
  encodeCheckpoint,
  isCommitted,
  isFinishable,
  LaterFormatError,
  type Checkpoint,
  type ObjectAddress,
} from '../disk/checkpoint.js'
import { Lock, ownerOf, type Owner } from '../disk/lock.js'
import type { SharedSpoolDirectory } from '../disk/shared-spool-directory.js'
import { isTrustedDirectory } from '../disk/trusted-files.js'
import type { LockedRecord, RecordStore } from '../disk/record-store.js'
import { ignoreMissing } from '../disk/durable-fs.js'
import {
  idOfNote,
  idsOfNotes,
  isFileName,
  isId,
  noteName,
  quarantineName,
  type RenamedUpload,
} from '../disk/spool-directory.js'
import { SpoolError } from '../errors.js'
import { sendCommand, RedisError, stringReply, stringListReply } from './connection.js'
import type { HostRegistry } from './host-registry.js'
import { fencedScript, parseLockHolder, RedisLock, type RedisLockSettings } from './redis-lock.js'

/** A record exists if and only if its id is in the set, so only the first write of a record adds its id. */
const WRITE_SCRIPT = fencedScript(
  `if not redis.call('getset', KEYS[2], ARGV[2]) then redis.call('sadd', KEYS[3], ARGV[3]) end`,
)
const REMOVE_SCRIPT = fencedScript(`redis.call('del', KEYS[2])
redis.call('srem', KEYS[3], ARGV[2])`)
const QUARANTINE_SCRIPT =
  fencedScript(`if redis.call('exists', KEYS[2]) == 1 then redis.call('rename', KEYS[2], KEYS[4]) end
redis.call('srem', KEYS[3], ARGV[2])
redis.call('zadd', KEYS[5], ARGV[3], ARGV[4])`)

export class RedisRecordStore implements RecordStore {
  readonly #spool: SharedSpoolDirectory
  readonly #settings: RedisLockSettings
  readonly #hostRegistry: HostRegistry

  constructor(
    spool: SharedSpoolDirectory,
    settings: RedisLockSettings,
    hostRegistry: HostRegistry,
  ) {
    this.#spool = spool
    this.#settings = settings
    this.#hostRegistry = hostRegistry
  }

  directoryOf(id: string): string {
    return this.#spool.directoryOf(id)
  }

  async ids(select: (id: string) => boolean = () => true): Promise<string[]> {
    const members = stringListReply(await this.#sendCommand('SMEMBERS', this.#keys.uploadIds))
    return members.filter(id => isId(id) && select(id)).toSorted() // as in a directory, other names are not ours
  }

  idsOnHost(): Promise<string[]> {
    return this.#spool.ids()
  }

  async has(id: string): Promise<boolean> {
    return isId(id) && (await this.#sendCommand('SISMEMBER', this.#keys.uploadIds, id)) === 1
  }

  async read(id: string): Promise<Checkpoint | null> {
    const text = stringReply(await this.#get(this.#keys.record(id), id))
    return text === null ? null : decodeCheckpoint(text)
  }

  async owner(id: string): Promise<Owner | undefined> {
    const holder = parseLockHolder(await this.#get(this.#keys.lock(id), id))
    return holder && { pid: holder.pid, host: holder.host }
  }

  hasBytes(id: string): Promise<boolean> {
    return this.#spool.hasBytes(id)
  }

  /** Does nothing; `lock()` creates the directory, which may be missing here for an existing upload. */
  async prepare(): Promise<void> {}

  async lock(id: string): Promise<LockedRecord | 'owned' | 'gone'> {
    await this.#translateErrors(() => this.#hostRegistry.announce(), id)
    await this.#spool.prepare(id)
    const kernelLock = await Lock.acquire(this.#spool.directoryOf(id))
    if (typeof kernelLock === 'string') return kernelLock
    let lock: RedisLock | 'owned'
    try {
      await this.#spool.checkOwn(id) // an upload whose record is in its directory may have been faster
      lock = await this.#translateErrors(() => RedisLock.acquire(this.#settings, id), id)
    } catch (error) {
      await this.#releaseDirectory(id, kernelLock)
      throw error
    }
    if (lock !== 'owned') return this.#createHeldRecord(id, kernelLock, lock)
    await this.#releaseDirectory(id, kernelLock)
    return 'owned'
  }

  /**
   * Quarantines bytes that no record refers to, because another host took over the upload or Redis lost its
   * record.
   */
  async sweep(): Promise<RenamedUpload[]> {
    const renamed = await this.#spool.sweep()
    for (const id of await this.#spool.ids()) {
      const directory = this.#spool.directoryOf(id)
      if (!isTrustedDirectory(directory)) continue
      // Check before locking, so that a healthy upload is never locked by the sweep.
      if ((await ownerOf(directory)) !== undefined || !(await this.#isAbandoned(id))) continue
      const kernelLock = await Lock.acquire(directory)
      if (typeof kernelLock === 'string') continue
      let isAbandoned = false
      try {
        isAbandoned = await this.#isAbandoned(id)
      } finally {
        await this.#releaseDirectory(id, kernelLock, isAbandoned)
      }
    }
    return renamed
  }

  async #isAbandoned(id: string): Promise<boolean> {
    const record = await this.read(id).catch(undefinedIfUntrusted)
    return record === null || (record !== undefined && record.host !== this.#settings.host)
  }

  async quarantined(): Promise<{ name: string; since: number; path?: string }[]> {
    const namesAndTimes = stringListReply(
      await this.#sendCommand('ZRANGE', this.#keys.quarantineIndex, 0, -1, 'WITHSCORES'),
    )
    const local = await this.#spool.quarantined()
    const found = new Map<string, { name: string; since: number; path?: string }>(
      local.map(each => [each.name, each]),
    )
    for (let i = 0; i < namesAndTimes.length; i += 2) {
      const name = namesAndTimes[i] ?? ''
      if (!isFileName(name)) continue // it is no path
      found.set(name, { ...found.get(name), name, since: Number(namesAndTimes[i + 1]) })
    }
    return [...found.values()]
  }

  /** Removes a quarantined upload; its bytes only if they are on this host. */
  async discardQuarantined(name: string): Promise<void> {
    await this.#spool.discardQuarantined(name)
    await this.#sendCommand('DEL', this.#keys.quarantinedRecord(name))
    await this.#sendCommand('ZREM', this.#keys.quarantineIndex, name)
  }

  async noteMove(object: ObjectAddress, id: string): Promise<void> {
    await this.#sendCommand('SADD', this.#keys.moved, noteName(object, id))
  }

  async forgetMoves(id: string, except?: ObjectAddress): Promise<void> {
    const kept = except === undefined ? undefined : noteName(except, id)
    const names = (await this.#notes()).filter(name => idOfNote(name) === id && name !== kept)
    if (names.length > 0) await this.#sendCommand('SREM', this.#keys.moved, ...names)
  }

  async movesTo(object: ObjectAddress): Promise<string[]> {
    return idsOfNotes(await this.#notes(), object)
  }

  async #notes(): Promise<string[]> {
    return stringListReply(await this.#sendCommand('SMEMBERS', this.#keys.moved))
  }

  #createHeldRecord(id: string, kernelLock: Lock, lock: RedisLock): LockedRecord {
    const recordKeys = [this.#keys.record(id), this.#keys.uploadIds]
    let ownsDirectory = true // afterwards, a directory of that name may belong to another process
    return {
      host: this.#settings.host,
      lockLost: lock.lost,
      read: async () => {
        if (lock.lost.aborted) throw lock.lost.reason
        return this.read(id)
      },
      write: async checkpoint => {
        if (checkpoint === null) throw new TypeError('There is no checkpoint to write')
        await lock.runFenced(WRITE_SCRIPT, recordKeys, [encodeCheckpoint(checkpoint), id])
      },
      locateBytes: checkpoint => this.#locateBytes(checkpoint),
      removeOtherFiles: named => this.#spool.removeOtherFiles(id, named, kernelLock),
      // Remove the directory last: without it, another process on this host would consider this one dead.
      remove: async () => {
        await this.#spool.removeOtherFiles(id, [], kernelLock)
        await lock.runFenced(REMOVE_SCRIPT, recordKeys, [id])
        ownsDirectory = false
        return this.#spool.remove(id, kernelLock)
      },
      quarantine: async () => {
        const name = quarantineName(id)
        const keys = [...recordKeys, this.#keys.quarantinedRecord(name), this.#keys.quarantineIndex]
        await lock.runFenced(QUARANTINE_SCRIPT, keys, [id, Date.now(), name])
        ownsDirectory = false
        const directoryLocation = await this.#spool.quarantine(id, name)
        return `${directoryLocation} and ${this.#keys.quarantinedRecord(name)}`
      },
      release: async () => {
        await lock.release()
        if (ownsDirectory) await this.#releaseDirectory(id, kernelLock)
        else kernelLock.release()
      },
    }
  }

  /**
   * Finds out where the bytes of an upload are. A host that was reinstalled under its old name has lost them
   * (`'nowhere'`). An unreadable disk is an error instead, because its bytes may not be lost.
   */
  async #locateBytes({
    id,
    host,
    upload,
    previous,
  }: Checkpoint): Promise<'here' | 'elsewhere' | 'nowhere'> {
    if (host === undefined) return 'here'
    if (host !== this.#settings.host) {
      return (await this.#translateErrors(() => this.#hostRegistry.isGone(host), id))
        ? 'nowhere'
        : 'elsewhere'
    }
    for (const record of [upload, previous]) {
      if (record === undefined || record.phase === 'published') continue
      // The temp file of an unsealed stream goes when its owner ends in order.
      if (isFinishable(previous) && record.phase === 'spooling' && !isCommitted(record)) continue
      const file = join(this.#spool.directoryOf(id), record.file)
      const stats = await lstat(file).catch(ignoreMissing)
      if (stats === undefined) return 'nowhere'
    }
    return 'here'
  }

  /** Releases the kernel lock. Removes the directory if it has no bytes; quarantines it if it is abandoned. */
  async #releaseDirectory(id: string, kernelLock: Lock, isAbandoned = false): Promise<void> {
    try {
      const files = await readdir(this.#spool.directoryOf(id))
      if (files.every(name => name === 'lock')) await this.#spool.remove(id, kernelLock)
      else if (isAbandoned) await this.#spool.quarantine(id)
    } finally {
      kernelLock.release()
    }
  }

  get #keys(): RedisLockSettings['keys'] {
    return this.#settings.keys
  }

  /** Reads a value of one upload. */
  #get(key: string, id: string): Promise<unknown> {
    const { connection, timeout } = this.#settings
    return this.#translateErrors(() => sendCommand(connection, timeout, 'GET', key), id)
  }

  #sendCommand(command: string, ...args: (string | number)[]): Promise<unknown> {
    const { connection, timeout } = this.#settings
    return this.#translateErrors(() => sendCommand(connection, timeout, command, ...args))
  }

  /** Reports an unreachable Redis as unreadable, since its records are not damaged (rule 10). */
  async #translateErrors<T>(action: () => Promise<T>, id?: string): Promise<T> {
    try {
      return await action()
    } catch (error) {
      if (!(error instanceof RedisError)) throw error
      const cause = error.message.replace(/\.$/, '')
      const message = `Access to the checkpoints in Redis failed: ${cause}. Nothing was changed`
      const hint = error.isReply
        ? 'Fix what Redis reports, then run it again.'
        : 'Run it again when Redis responds.'
      throw new SpoolError('ERR_SPOOL_UNREADABLE', message, { id, hint, cause: error })
    }
  }
}

/** Handler for a failed read. Returns `undefined`, not `null`: an untrusted record is not a missing one. */
function undefinedIfUntrusted(error: unknown): undefined {
  if (error instanceof CheckpointDamagedError || error instanceof LaterFormatError) return undefined
  if (error instanceof SpoolError && error.cause instanceof RedisError && error.cause.isReply) {
    return undefined // the key has a value of another type
  }
  throw error
}
