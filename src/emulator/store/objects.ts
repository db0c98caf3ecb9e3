/**
 * Objects: a directory each, named after the key, holding the record and the bytes it points to.
 * The rename of the record is the one moment at which an object appears, changes or is replaced;
 * bytes come into the directory before it and leave after it, both under the key's lock. Whatever
 * else a crash left in the directory is swept by the next change of that key.
 */
import { createReadStream, createWriteStream } from 'node:fs'
import { truncate } from 'node:fs/promises'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { readSegments, readZeros, type Span } from './body.js'
import { ifThere, isThere, makeDir, namesIn, readJson, removeFile, writeJson } from './files.js'
import { keyOfFileName } from './layout.js'
import {
  adopt,
  linkOrCopy,
  makeObjectDir,
  objectTopic,
  RECORD,
  settle,
  sweep,
  type Bytes,
} from './object-dir.js'
import type { ObjectRecord, Segment } from './record.js'
import type { Place } from './place.js'

const MANIFEST = 'manifest.json'

/** The objects of one data directory. */
export interface Objects {
  get(bucket: string, key: string): Promise<ObjectRecord | undefined>
  /** The bytes of a record; undefined if the object was replaced meanwhile: get it again. */
  read(bucket: string, record: ObjectRecord, span: Span): Promise<Readable | undefined>
  /**
   * Replaces or makes an object in one step. `decide` sees the object that is there, under the
   * lock, and may throw to leave everything as it is.
   */
  put(
    bucket: string,
    key: string,
    bytes: Bytes,
    decide: (old: ObjectRecord | undefined) => Omit<ObjectRecord, 'body'>,
  ): Promise<ObjectRecord>
  /** Changes what is said about an object, not its bytes. Undefined if there is none. */
  change(
    bucket: string,
    key: string,
    edit: (old: ObjectRecord) => ObjectRecord,
  ): Promise<ObjectRecord | undefined>
  /** As `put`, but the bytes of a file go behind those that are there. */
  append(
    bucket: string,
    key: string,
    bytes: Bytes,
    decide: (old: ObjectRecord | undefined) => Omit<ObjectRecord, 'body'>,
  ): Promise<ObjectRecord>
  /** The bytes of a record once more, linked; undefined if the object was replaced meanwhile. */
  link(bucket: string, record: ObjectRecord): Promise<Bytes | undefined>
  /** False if there was none. */
  remove(bucket: string, key: string): Promise<boolean>
  /** All keys, in no order; a few may be gone by the time they are asked for. */
  keys(bucket: string): Promise<string[]>
}

export function objectsIn(place: Place): Objects {
  const { layout, workspace, exclusive } = place
  const recordPath = (bucket: string, key: string) => join(layout.object(bucket, key), RECORD)
  const get = (bucket: string, key: string) => readJson<ObjectRecord>(recordPath(bucket, key))

  const locked = <T>(
    bucket: string,
    key: string,
    work: (old: ObjectRecord | undefined) => Promise<T>,
  ) =>
    exclusive(objectTopic(bucket, key), async () => {
      const old = await get(bucket, key)
      if (old !== undefined) await settle(place, bucket, old)
      return work(old)
    })

  /** The directory of a body's parts, and their list. */
  async function partsOf(bucket: string, record: ObjectRecord, id: string) {
    const moved = join(layout.object(bucket, record.key), id)
    // for a moment after Complete the parts are still where they were uploaded
    const dir = (await isThere(moved)) ? moved : layout.upload(bucket, id)
    const manifest = await readJson<Segment[]>(join(dir, MANIFEST))
    return manifest && { dir, manifest }
  }

  async function store(bucket: string, record: ObjectRecord): Promise<ObjectRecord> {
    await writeJson(workspace.fresh(), recordPath(bucket, record.key), record)
    await sweep(layout.object(bucket, record.key), record)
    return record
  }

  return {
    get,

    async read(bucket, record, span) {
      const { body } = record
      if (body.kind === 'none') return readZeros(span.length)
      const dir = layout.object(bucket, record.key)
      if (body.kind === 'file') return ifThere(readSegments(dir, [[body.name, record.size]], span))
      const parts = await partsOf(bucket, record, body.id)
      return parts && ifThere(readSegments(parts.dir, parts.manifest, span))
    },

    put: (bucket, key, bytes, decide) =>
      locked(bucket, key, async old => {
        const facts = decide(old)
        await makeObjectDir(layout.object(bucket, key))
        return store(bucket, { ...facts, body: await adopt(layout.object(bucket, key), bytes) })
      }),

    change: (bucket, key, edit) =>
      locked(bucket, key, async old => old && store(bucket, edit(old))),

    append: (bucket, key, bytes, decide) =>
      locked(bucket, key, async old => {
        const facts = decide(old)
        const dir = layout.object(bucket, key)
        await makeObjectDir(dir)
        if (old === undefined || old.body.kind !== 'file' || bytes.kind !== 'file')
          return store(bucket, { ...facts, body: await adopt(dir, bytes) })
        // bytes behind the recorded size belong to nobody, so a crash in here changes nothing
        const body = join(dir, old.body.name)
        await truncate(body, old.size)
        await pipeline(createReadStream(bytes.path), createWriteStream(body, { flags: 'a' }))
        await removeFile(bytes.path)
        return store(bucket, { ...facts, body: old.body })
      }),

    async link(bucket, record) {
      const { body } = record
      if (body.kind === 'none') return { kind: 'none' }
      const path = workspace.fresh()
      if (body.kind === 'file') {
        const from = join(layout.object(bucket, record.key), body.name)
        return (await ifThere(linkOrCopy(from, path))) && { kind: 'file', path }
      }
      const parts = await partsOf(bucket, record, body.id)
      if (parts === undefined) return undefined
      const segments = parts.manifest.map(([, size], i): Segment => [String(i), size])
      await makeDir(path)
      await writeJson(workspace.fresh(), join(path, MANIFEST), segments)
      for (const [i, [file]] of parts.manifest.entries())
        if (!(await ifThere(linkOrCopy(join(parts.dir, file), join(path, String(i))))))
          return undefined
      return { kind: 'parts', path }
    },

    remove: (bucket, key) =>
      locked(bucket, key, async old => {
        const dir = layout.object(bucket, key)
        await removeFile(join(dir, RECORD))
        await sweep(dir, undefined)
        return old !== undefined
      }),

    async keys(bucket) {
      const names = await namesIn(layout.objects(bucket))
      const keys = await Promise.all(names.map(name => keyOf(layout.objects(bucket), name)))
      return keys.filter(key => key !== undefined)
    },
  }
}

async function keyOf(objects: string, name: string): Promise<string | undefined> {
  return keyOfFileName(name) ?? (await readJson<ObjectRecord>(join(objects, name, RECORD)))?.key
}
