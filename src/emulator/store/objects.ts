/**
 * Objects. Each is a directory named after the key, holding the record of its versions and their bytes. An
 * object is created, changed or replaced atomically by renaming the record; bytes are moved into the
 * directory before and removed after, both under the key's lock. Leftovers of a crash are removed by the
 * next change of that key.
 */
import { createReadStream, createWriteStream } from 'node:fs'
import { truncate } from 'node:fs/promises'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { readSegments, readZeros, type ByteSpan } from './stored-body.js'
import {
  ifExists,
  makeChildDir,
  makeDir,
  listDir,
  readJsonFile,
  removeFile,
  writeJsonFile,
} from './files.js'
import { keyOfFileName } from './layout.js'
import {
  discardStaged,
  moveBody,
  linkOrCopy,
  objectLockName,
  finishComplete,
  readVersions,
  removeLeftovers,
  writeVersions,
  type StagedBody,
} from './object-dir.js'
import type { ObjectRecord, Segment } from './record.js'
import type { StoreContext } from './store-context.js'
import { addVersion, currentVersion, findVersion } from './versions.js'

const MANIFEST_FILE = 'manifest.json'

/** The objects of one data directory. */
export interface ObjectStore {
  /** Resolves with the current version; undefined if there is none, or a delete marker. */
  get(bucket: string, key: string): Promise<ObjectRecord | undefined>
  /** Resolves with all versions, newest first, including delete markers. */
  versions(bucket: string, key: string): Promise<readonly ObjectRecord[]>
  /** Reads the bytes of a record. Undefined if the object has been replaced; call `get` again. */
  read(bucket: string, record: ObjectRecord, span: ByteSpan): Promise<Readable | undefined>
  /**
   * Adds a version atomically. It replaces the version of the same id; without versioning, all have the id `null`.
   *
   * @param createRecord – called with the current version under the lock; may throw to change nothing
   */
  put(
    bucket: string,
    key: string,
    staged: StagedBody,
    createRecord: (old: ObjectRecord | undefined) => Omit<ObjectRecord, 'body'>,
  ): Promise<ObjectRecord>
  /** Changes the metadata of a version, not its bytes. Undefined if it does not exist. */
  update(
    bucket: string,
    key: string,
    versionId: string,
    edit: (old: ObjectRecord) => ObjectRecord,
  ): Promise<ObjectRecord | undefined>
  /**
   * Appends the bytes of a file to the newest version; otherwise like `put`.
   *
   * @param createRecord – called with the newest version, which may be a delete marker
   */
  append(
    bucket: string,
    key: string,
    staged: StagedBody,
    createRecord: (old: ObjectRecord | undefined) => Omit<ObjectRecord, 'body'>,
  ): Promise<ObjectRecord>
  /** Links the bytes of a record for a copy. Undefined if the object has been replaced. */
  linkBody(bucket: string, record: ObjectRecord): Promise<StagedBody | undefined>
  /** Removes a version and resolves with it; undefined if it did not exist. */
  remove(bucket: string, key: string, versionId: string): Promise<ObjectRecord | undefined>
  /** Lists all keys, unordered. Some may have been removed when they are read. */
  listKeys(bucket: string): Promise<string[]>
}

export function createObjectStore(context: StoreContext): ObjectStore {
  const { layout, workspace, runExclusive } = context
  const versionsOf = (bucket: string, key: string) => readVersions(layout.object(bucket, key))

  const withLock = <T>(
    bucket: string,
    key: string,
    work: (versions: readonly ObjectRecord[]) => Promise<T>,
  ) =>
    runExclusive(objectLockName(bucket, key), async () => {
      const versions = await versionsOf(bucket, key)
      await finishComplete(context, bucket, versions)
      return work(versions)
    })

  /** Resolves with the manifest of a body's parts, and the directories where they may be, in the order to look. */
  async function locateParts(bucket: string, record: ObjectRecord, id: string) {
    const moved = join(layout.object(bucket, record.key), id)
    // Shortly after Complete the parts are still in the upload's directory, and they may be moved at any moment.
    const dirs = [moved, layout.upload(bucket, id), moved]
    for (const dir of dirs) {
      const manifest = await readJsonFile<Segment[]>(join(dir, MANIFEST_FILE))
      if (manifest !== undefined) return { dirs, manifest }
    }
    return undefined
  }

  async function saveVersions(
    dir: string,
    old: readonly ObjectRecord[],
    versions: readonly ObjectRecord[],
  ): Promise<void> {
    await writeVersions(context, dir, old, versions)
    await removeLeftovers(dir, versions)
  }

  return {
    async get(bucket, key) {
      return currentVersion(await versionsOf(bucket, key))
    },

    versions: versionsOf,

    async read(bucket, record, span) {
      const { body } = record
      if (body.kind === 'none') return readZeros(span.length)
      const dir = layout.object(bucket, record.key)
      if (body.kind === 'file')
        return ifExists(readSegments([dir], [[body.name, record.size]], span))
      const parts = await locateParts(bucket, record, body.id)
      return parts && ifExists(readSegments(parts.dirs, parts.manifest, span))
    },

    put: (bucket, key, staged, createRecord) =>
      withLock(bucket, key, async versions => {
        const fields = createRecord(currentVersion(versions))
        const dir = layout.object(bucket, key)
        await makeChildDir(dir)
        const record = { ...fields, body: await moveBody(dir, staged) }
        await saveVersions(dir, versions, addVersion(versions, record))
        return record
      }),

    update: (bucket, key, versionId, edit) =>
      withLock(bucket, key, async versions => {
        const old = findVersion(versions, versionId)
        if (old === undefined) return undefined
        const record = edit(old)
        await saveVersions(
          layout.object(bucket, key),
          versions,
          versions.map(version => (version === old ? record : version)),
        )
        return record
      }),

    append: (bucket, key, staged, createRecord) =>
      withLock(bucket, key, async versions => {
        const [old] = versions
        const fields = createRecord(old)
        const dir = layout.object(bucket, key)
        await makeChildDir(dir)
        const appendTo = async (body: ObjectRecord['body']) => {
          const record = { ...fields, body }
          await saveVersions(dir, versions, addVersion(versions, record))
          return record
        }
        if (old === undefined || old.body.kind !== 'file' || staged.kind !== 'file')
          return appendTo(await moveBody(dir, staged))
        // bytes past the recorded size are not part of the object, so a crash here is harmless
        const body = join(dir, old.body.name)
        await truncate(body, old.size)
        await pipeline(createReadStream(staged.path), createWriteStream(body, { flags: 'a' }))
        await removeFile(staged.path)
        return appendTo(old.body)
      }),

    async linkBody(bucket, record) {
      const { body } = record
      if (body.kind === 'none') return { kind: 'none' }
      const path = workspace.tempPath()
      if (body.kind === 'file') {
        const from = join(layout.object(bucket, record.key), body.name)
        return (await ifExists(linkOrCopy(from, path))) && { kind: 'file', path }
      }
      const parts = await locateParts(bucket, record, body.id)
      if (parts === undefined) return undefined
      const segments = parts.manifest.map(([, size], i): Segment => [String(i), size])
      const staged: StagedBody = { kind: 'parts', path }
      await makeDir(path)
      await writeJsonFile(workspace.tempPath(), join(path, MANIFEST_FILE), segments)
      for (const [i, [file]] of parts.manifest.entries())
        if (!(await linkFrom(parts.dirs, file, join(path, String(i))))) {
          await discardStaged(staged)
          return undefined
        }
      return staged
    },

    remove: (bucket, key, versionId) =>
      withLock(bucket, key, async versions => {
        const removed = findVersion(versions, versionId)
        await saveVersions(
          layout.object(bucket, key),
          versions,
          versions.filter(version => version !== removed),
        )
        return removed
      }),

    async listKeys(bucket) {
      const names = await listDir(layout.objects(bucket))
      const keys = await Promise.all(names.map(name => readKey(layout.objects(bucket), name)))
      return keys.filter(key => key !== undefined)
    },
  }
}

/** Links a file of the first directory that has it. Resolves with false if none does. */
async function linkFrom(dirs: readonly string[], name: string, to: string): Promise<boolean> {
  for (const dir of dirs) if (await ifExists(linkOrCopy(join(dir, name), to))) return true
  return false
}

async function readKey(objects: string, name: string): Promise<string | undefined> {
  return keyOfFileName(name) ?? (await readVersions(join(objects, name)))[0]?.key
}
