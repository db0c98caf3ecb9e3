/**
 * Objects. Each is a directory named after the key, holding the record and the bytes it refers to. An
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
  moveBody,
  linkOrCopy,
  objectLockName,
  RECORD_FILE,
  finishComplete,
  removeLeftovers,
  type StagedBody,
} from './object-dir.js'
import type { ObjectRecord, Segment } from './record.js'
import type { StoreContext } from './store-context.js'

const MANIFEST_FILE = 'manifest.json'

/** The objects of one data directory. */
export interface ObjectStore {
  get(bucket: string, key: string): Promise<ObjectRecord | undefined>
  /** Reads the bytes of a record. Undefined if the object has been replaced; call `get` again. */
  read(bucket: string, record: ObjectRecord, span: ByteSpan): Promise<Readable | undefined>
  /**
   * Creates or replaces an object atomically.
   *
   * @param createRecord – called with the existing object under the lock; may throw to change nothing
   */
  put(
    bucket: string,
    key: string,
    staged: StagedBody,
    createRecord: (old: ObjectRecord | undefined) => Omit<ObjectRecord, 'body'>,
  ): Promise<ObjectRecord>
  /** Changes the metadata of an object, not its bytes. Undefined if it does not exist. */
  update(
    bucket: string,
    key: string,
    edit: (old: ObjectRecord) => ObjectRecord,
  ): Promise<ObjectRecord | undefined>
  /** Appends the bytes of a file to the object; otherwise like `put`. */
  append(
    bucket: string,
    key: string,
    staged: StagedBody,
    createRecord: (old: ObjectRecord | undefined) => Omit<ObjectRecord, 'body'>,
  ): Promise<ObjectRecord>
  /** Links the bytes of a record for a copy. Undefined if the object has been replaced. */
  linkBody(bucket: string, record: ObjectRecord): Promise<StagedBody | undefined>
  /** Removes an object. Resolves with false if it did not exist. */
  remove(bucket: string, key: string): Promise<boolean>
  /** Lists all keys, unordered. Some may have been removed when they are read. */
  listKeys(bucket: string): Promise<string[]>
}

export function createObjectStore(context: StoreContext): ObjectStore {
  const { layout, workspace, runExclusive } = context
  const recordPath = (bucket: string, key: string) => join(layout.object(bucket, key), RECORD_FILE)
  const get = (bucket: string, key: string) => readJsonFile<ObjectRecord>(recordPath(bucket, key))

  const withLock = <T>(
    bucket: string,
    key: string,
    work: (old: ObjectRecord | undefined) => Promise<T>,
  ) =>
    runExclusive(objectLockName(bucket, key), async () => {
      const old = await get(bucket, key)
      if (old !== undefined) await finishComplete(context, bucket, old)
      return work(old)
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

  async function saveRecord(bucket: string, record: ObjectRecord): Promise<ObjectRecord> {
    await writeJsonFile(workspace.tempPath(), recordPath(bucket, record.key), record)
    await removeLeftovers(layout.object(bucket, record.key), record)
    return record
  }

  return {
    get,

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
      withLock(bucket, key, async old => {
        const fields = createRecord(old)
        await makeChildDir(layout.object(bucket, key))
        return saveRecord(bucket, {
          ...fields,
          body: await moveBody(layout.object(bucket, key), staged),
        })
      }),

    update: (bucket, key, edit) =>
      withLock(bucket, key, async old => old && saveRecord(bucket, edit(old))),

    append: (bucket, key, staged, createRecord) =>
      withLock(bucket, key, async old => {
        const fields = createRecord(old)
        const dir = layout.object(bucket, key)
        await makeChildDir(dir)
        if (old === undefined || old.body.kind !== 'file' || staged.kind !== 'file')
          return saveRecord(bucket, { ...fields, body: await moveBody(dir, staged) })
        // bytes past the recorded size are not part of the object, so a crash here is harmless
        const body = join(dir, old.body.name)
        await truncate(body, old.size)
        await pipeline(createReadStream(staged.path), createWriteStream(body, { flags: 'a' }))
        await removeFile(staged.path)
        return saveRecord(bucket, { ...fields, body: old.body })
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
      await makeDir(path)
      await writeJsonFile(workspace.tempPath(), join(path, MANIFEST_FILE), segments)
      for (const [i, [file]] of parts.manifest.entries())
        if (!(await linkFrom(parts.dirs, file, join(path, String(i))))) return undefined
      return { kind: 'parts', path }
    },

    remove: (bucket, key) =>
      withLock(bucket, key, async old => {
        const dir = layout.object(bucket, key)
        await removeFile(join(dir, RECORD_FILE))
        await removeLeftovers(dir, undefined)
        return old !== undefined
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
  return (
    keyOfFileName(name) ?? (await readJsonFile<ObjectRecord>(join(objects, name, RECORD_FILE)))?.key
  )
}
