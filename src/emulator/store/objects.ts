/**
 * Objects: a directory each, named after the key, holding the record and the bytes it points to.
 * The rename of the record is the one moment at which an object appears, changes or is replaced;
 * bytes come into the directory before it and leave after it, both under the key's lock. Whatever
 * else a crash left in the directory is swept by the next change of that key.
 */
import { mkdir, open as openFile, rename, rmdir, truncate } from 'node:fs/promises'
import { createReadStream, createWriteStream } from 'node:fs'
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { readSegments, readZeros, type Span } from './body.js'
import {
  hasCode,
  ifThere,
  isThere,
  namesIn,
  readJson,
  removeFile,
  removeTree,
  writeJson,
} from './files.js'
import { keyFileName, keyOfFileName } from './layout.js'
import type { ObjectRecord, Segment } from './record.js'
import type { Place } from './store.js'

const RECORD = 'record.json'

/** What the lock on an object is asked for; uploads to the key take the same one. */
export const objectTopic = (bucket: string, key: string): string =>
  directoryTopic(bucket, keyFileName(key))

/** The same by the name of the object's directory. */
export const directoryTopic = (bucket: string, name: string): string => `object ${bucket}/${name}`

/** Bytes that are to become a body: a temp file, or none where they were thrown away. */
export type Source = string | undefined

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
    source: Source,
    decide: (old: ObjectRecord | undefined) => Omit<ObjectRecord, 'body'>,
  ): Promise<ObjectRecord>
  /** Changes what is said about an object, not its bytes. Undefined if there is none. */
  change(
    bucket: string,
    key: string,
    edit: (old: ObjectRecord) => ObjectRecord,
  ): Promise<ObjectRecord | undefined>
  /** As `put`, but the bytes of `source` go behind those that are there. */
  append(
    bucket: string,
    key: string,
    source: Source,
    decide: (old: ObjectRecord | undefined) => Omit<ObjectRecord, 'body'>,
  ): Promise<ObjectRecord>
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
      const moved = join(dir, body.id)
      // for a moment after Complete the parts are still where they were uploaded
      const parts = (await isThere(moved)) ? moved : layout.upload(bucket, body.id)
      const manifest = await readJson<Segment[]>(join(parts, 'manifest.json'))
      return manifest && ifThere(readSegments(parts, manifest, span))
    },

    put: (bucket, key, source, decide) =>
      locked(bucket, key, async old => {
        const facts = decide(old)
        await makeObjectDir(layout.object(bucket, key))
        return store(bucket, { ...facts, body: await adopt(layout.object(bucket, key), source) })
      }),

    change: (bucket, key, edit) =>
      locked(bucket, key, async old => old && store(bucket, edit(old))),

    append: (bucket, key, source, decide) =>
      locked(bucket, key, async old => {
        const facts = decide(old)
        const dir = layout.object(bucket, key)
        await makeObjectDir(dir)
        if (old === undefined || old.body.kind !== 'file' || source === undefined)
          return store(bucket, { ...facts, body: await adopt(dir, source) })
        // bytes behind the recorded size belong to nobody, so a crash in here changes nothing
        const body = join(dir, old.body.name)
        await truncate(body, old.size)
        await pipeline(createReadStream(source), createWriteStream(body, { flags: 'a' }))
        await removeFile(source)
        return store(bucket, { ...facts, body: old.body })
      }),

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

/** Makes the directory of an object; its bucket's must be there. */
export async function makeObjectDir(dir: string): Promise<void> {
  try {
    await mkdir(dir, { mode: 0o700 })
  } catch (error) {
    if (!hasCode(error, 'EEXIST')) throw error
  }
}

async function adopt(dir: string, source: Source): Promise<ObjectRecord['body']> {
  if (source === undefined) return { kind: 'none' }
  const name = `body-${randomBytes(8).toString('hex')}`
  await rename(source, join(dir, name))
  return { kind: 'file', name }
}

/** Finishes a Complete that was cut between its record and the move of its parts. Under the lock. */
export async function settle(
  { layout }: Place,
  bucket: string,
  { key, body }: ObjectRecord,
): Promise<void> {
  if (body.kind !== 'parts') return
  await ifThere(rename(layout.upload(bucket, body.id), join(layout.object(bucket, key), body.id)))
}

/** Removes from an object's directory what its record does not name; all of it without a record. */
export async function sweep(dir: string, record: ObjectRecord | undefined): Promise<void> {
  const keep = new Set<string>()
  if (record !== undefined) {
    keep.add(RECORD)
    if (record.body.kind === 'file') keep.add(record.body.name)
    if (record.body.kind === 'parts') keep.add(record.body.id)
  }
  for (const name of await namesIn(dir)) if (!keep.has(name)) await removeTree(join(dir, name))
  if (record === undefined) await ifThere(rmdir(dir))
}

/** Creates an empty file: what stands for bytes that were thrown away. */
export async function touch(path: string): Promise<void> {
  await (await openFile(path, 'w', 0o600)).close()
}
