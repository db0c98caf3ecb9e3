/**
 * Unfinished multipart uploads: a directory each, holding a record and the parts. Complete makes
 * the object's record first (from then on the object is there and the upload is not) and moves the
 * directory beside it after; a crash between the two is mended by whoever looks next.
 */
import { randomBytes } from 'node:crypto'
import { rename } from 'node:fs/promises'
import { join } from 'node:path'
import type { Digest } from './digest.js'
import { makeDir, namesIn, readJson, removeFile, removeTree, writeJson } from './files.js'
import { isUploadId } from './layout.js'
import { makeObjectDir, objectTopic, RECORD, settle, sweep } from './object-dir.js'
import { dropPart, listParts, storePart, type Part } from './parts.js'
import type { ObjectRecord, Segment, UploadRecord } from './record.js'
import type { Place } from './place.js'

/** The unfinished uploads of one data directory. `undefined` and false: no such upload. */
export interface Uploads {
  create(bucket: string, record: Omit<UploadRecord, 'id'>): Promise<UploadRecord>
  get(bucket: string, key: string, id: string): Promise<UploadRecord | undefined>
  list(bucket: string): Promise<UploadRecord[]>
  parts(bucket: string, id: string): Promise<Part[]>
  /** Stores a part. `check` sees the parts that are there, under the lock, and may throw. */
  putPart(
    bucket: string,
    upload: UploadRecord,
    number: number,
    source: string,
    digest: Digest,
    check?: (parts: readonly Part[]) => void,
  ): Promise<Part | undefined>
  dropPart(bucket: string, upload: UploadRecord, number: number): Promise<boolean>
  /** Makes the object. `decide` sees what is there, under the lock, and may throw. */
  complete(
    bucket: string,
    upload: UploadRecord,
    decide: (
      parts: readonly Part[],
      old: ObjectRecord | undefined,
    ) => { facts: Omit<ObjectRecord, 'body'>; parts: readonly Part[] },
    discarded: boolean,
  ): Promise<ObjectRecord | undefined>
  abort(bucket: string, upload: UploadRecord): Promise<boolean>
}

export function uploadsIn(place: Place): Uploads {
  const { layout, workspace, exclusive } = place
  const recordPath = (bucket: string, id: string) => join(layout.upload(bucket, id), 'upload.json')
  const objectRecord = (bucket: string, key: string) =>
    readJson<ObjectRecord>(join(layout.object(bucket, key), RECORD))

  async function read(bucket: string, id: string): Promise<UploadRecord | undefined> {
    const upload = await readJson<UploadRecord>(recordPath(bucket, id))
    if (upload === undefined) return undefined
    const object = await objectRecord(bucket, upload.key)
    const completed = object?.body.kind === 'parts' && object.body.id === id
    return completed ? undefined : upload
  }

  async function get(bucket: string, key: string, id: string): Promise<UploadRecord | undefined> {
    const upload = isUploadId(id) ? await read(bucket, id) : undefined
    return upload?.key === key ? upload : undefined
  }

  /** Runs `work` if the upload is still there, alone on its key. */
  const locked = <T>(bucket: string, { key, id }: UploadRecord, work: () => Promise<T>) =>
    exclusive(objectTopic(bucket, key), async () =>
      (await get(bucket, key, id)) === undefined ? undefined : work(),
    )

  return {
    async create(bucket, record) {
      const upload = { ...record, id: randomBytes(16).toString('hex').toUpperCase() }
      const dir = workspace.fresh()
      await makeDir(dir)
      await writeJson(workspace.fresh(), join(dir, 'upload.json'), upload)
      await rename(dir, layout.upload(bucket, upload.id))
      return upload
    },

    get,

    async list(bucket) {
      const names = (await namesIn(layout.uploads(bucket))).filter(isUploadId)
      const uploads = await Promise.all(names.map(id => read(bucket, id)))
      return uploads.filter(upload => upload !== undefined)
    },

    parts: (bucket, id) => listParts(layout.upload(bucket, id)),

    putPart: (bucket, upload, number, source, digest, check) =>
      locked(bucket, upload, async () => {
        const dir = layout.upload(bucket, upload.id)
        if (check !== undefined) check(await listParts(dir))
        return storePart(dir, number, source, digest)
      }),

    async dropPart(bucket, upload, number) {
      const dropped = locked(bucket, upload, () =>
        dropPart(layout.upload(bucket, upload.id), number),
      )
      return (await dropped) ?? false
    },

    complete: (bucket, upload, decide, discarded) =>
      locked(bucket, upload, async () => {
        const { key, id } = upload
        const from = layout.upload(bucket, id)
        const old = await objectRecord(bucket, key)
        if (old !== undefined) await settle(place, bucket, old)
        const present = await listParts(from)
        const { facts, parts } = decide(present, old)
        const manifest: Segment[] = parts.map(part => [part.file, part.size])
        await writeJson(workspace.fresh(), join(from, 'manifest.json'), manifest)

        const dir = layout.object(bucket, key)
        await makeObjectDir(dir)
        const record: ObjectRecord = {
          ...facts,
          body: discarded ? { kind: 'none' } : { kind: 'parts', id },
        }
        await writeJson(workspace.fresh(), join(dir, RECORD), record) // from here it is done
        await rename(from, join(dir, id))
        await sweep(dir, record)

        const used = new Set(parts.map(part => part.file))
        const spare = present.filter(part => !used.has(part.file))
        for (const part of spare) await removeFile(join(dir, id, part.file))
        return record
      }),

    async abort(bucket, upload) {
      const grave = workspace.fresh()
      const aborted = await locked(bucket, upload, async () => {
        await rename(layout.upload(bucket, upload.id), grave)
        return true
      })
      if (aborted === true) await removeTree(grave)
      return aborted ?? false
    },
  }
}
