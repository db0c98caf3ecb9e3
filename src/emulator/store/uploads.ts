/**
 * Unfinished multipart uploads. Each is a directory holding a record and the parts. Complete first writes
 * the object's record, from which point the object exists and the upload does not, and then moves the
 * directory next to it. After a crash in between, the next change of the key or the next
 * start finishes the move.
 */
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import type { Digest } from './digest.js'
import {
  makeChildDir,
  makeDir,
  listDir,
  readJsonFile,
  removeFile,
  removeTree,
  rename,
  writeJsonFile,
} from './files.js'
import { isStoredUploadId } from './layout.js'
import {
  objectLockName,
  finishComplete,
  readVersions,
  removeLeftovers,
  writeVersions,
} from './object-dir.js'
import { removeStoredPart, readStoredParts, storePart, type StoredPart } from './parts.js'
import type { ObjectRecord, Segment, MultipartUploadRecord } from './record.js'
import type { StoreContext } from './store-context.js'
import { addVersion, currentVersion } from './versions.js'

/** Unfinished uploads of a data directory. `undefined` and false mean that there is no such upload. */
export interface UploadStore {
  create(bucket: string, record: Omit<MultipartUploadRecord, 'id'>): Promise<MultipartUploadRecord>
  get(bucket: string, key: string, id: string): Promise<MultipartUploadRecord | undefined>
  list(bucket: string): Promise<MultipartUploadRecord[]>
  listParts(bucket: string, upload: MultipartUploadRecord): Promise<StoredPart[] | undefined>
  /**
   * Stores a part.
   *
   * @param source – file with its bytes; undefined if they were discarded
   * @param check – called with the stored parts under the lock; may throw to change nothing
   */
  putPart(
    bucket: string,
    upload: MultipartUploadRecord,
    number: number,
    source: string | undefined,
    digest: Digest,
    check?: (parts: readonly StoredPart[]) => void,
  ): Promise<StoredPart | undefined>
  removePart(bucket: string, upload: MultipartUploadRecord, number: number): Promise<boolean>
  /**
   * Creates the object.
   *
   * @param chooseParts – called with the stored parts and the current version under the lock; may throw
   */
  complete(
    bucket: string,
    upload: MultipartUploadRecord,
    chooseParts: (
      parts: readonly StoredPart[],
      old: ObjectRecord | undefined,
    ) => { fields: Omit<ObjectRecord, 'body'>; parts: readonly StoredPart[] },
    discardBody: boolean,
  ): Promise<ObjectRecord | undefined>
  abort(bucket: string, upload: MultipartUploadRecord): Promise<boolean>
}

export function createUploadStore(context: StoreContext): UploadStore {
  const { layout, workspace, runExclusive } = context
  const recordPath = (bucket: string, id: string) => join(layout.upload(bucket, id), 'upload.json')

  async function readUpload(
    bucket: string,
    id: string,
  ): Promise<MultipartUploadRecord | undefined> {
    const upload = await readJsonFile<MultipartUploadRecord>(recordPath(bucket, id))
    if (upload === undefined) return undefined
    const [newest] = await readVersions(layout.object(bucket, upload.key))
    const completed = newest?.body.kind === 'parts' && newest.body.id === id
    return completed ? undefined : upload
  }

  async function get(
    bucket: string,
    key: string,
    id: string,
  ): Promise<MultipartUploadRecord | undefined> {
    const upload = isStoredUploadId(id) ? await readUpload(bucket, id) : undefined
    return upload?.key === key ? upload : undefined
  }

  /** Runs `work` under the key's lock if the upload still exists. */
  const withLock = <T>(
    bucket: string,
    { key, id }: MultipartUploadRecord,
    work: () => Promise<T>,
  ) =>
    runExclusive(objectLockName(bucket, key), async () =>
      (await get(bucket, key, id)) === undefined ? undefined : work(),
    )

  return {
    async create(bucket, record) {
      const upload = { ...record, id: randomBytes(16).toString('hex').toUpperCase() }
      const dir = workspace.tempPath()
      try {
        await makeDir(dir)
        await writeJsonFile(workspace.tempPath(), join(dir, 'upload.json'), upload)
        await rename(dir, layout.upload(bucket, upload.id))
      } catch (error) {
        await removeTree(dir)
        throw error
      }
      return upload
    },

    get,

    async list(bucket) {
      const names = (await listDir(layout.uploads(bucket))).filter(isStoredUploadId)
      const uploads = await Promise.all(names.map(id => readUpload(bucket, id)))
      return uploads.filter(upload => upload !== undefined)
    },

    async listParts(bucket, { key, id }) {
      const parts = await readStoredParts(layout.upload(bucket, id))
      // Complete and Abort move them away, which must not look like a loss of parts
      return (await get(bucket, key, id)) === undefined ? undefined : parts
    },

    putPart: (bucket, upload, number, source, digest, check) =>
      withLock(bucket, upload, async () => {
        const dir = layout.upload(bucket, upload.id)
        if (check !== undefined) check(await readStoredParts(dir))
        return storePart(dir, number, source, digest)
      }),

    async removePart(bucket, upload, number) {
      const removed = withLock(bucket, upload, () =>
        removeStoredPart(layout.upload(bucket, upload.id), number),
      )
      return (await removed) ?? false
    },

    complete: (bucket, upload, chooseParts, discardBody) =>
      withLock(bucket, upload, async () => {
        const { key, id } = upload
        const from = layout.upload(bucket, id)
        const dir = layout.object(bucket, key)
        const old = await readVersions(dir)
        await finishComplete(context, bucket, old)
        const storedParts = await readStoredParts(from)
        const { fields, parts } = chooseParts(storedParts, currentVersion(old))
        const manifest: Segment[] = parts.map(part => [part.file, part.size])
        await writeJsonFile(workspace.tempPath(), join(from, 'manifest.json'), manifest)

        await makeChildDir(dir)
        const record: ObjectRecord = {
          ...fields,
          body: discardBody ? { kind: 'none' } : { kind: 'parts', id },
        }
        // from here on the upload is completed
        const versions = addVersion(old, record)
        await writeVersions(context, dir, old, versions)
        await rename(from, join(dir, id))
        await removeLeftovers(dir, versions)

        const used = new Set(parts.map(part => part.file))
        const unusedParts = storedParts.filter(part => !used.has(part.file))
        for (const part of unusedParts) await removeFile(join(dir, id, part.file))
        return record
      }),

    async abort(bucket, upload) {
      const trashPath = workspace.tempPath()
      const aborted = await withLock(bucket, upload, async () => {
        await rename(layout.upload(bucket, upload.id), trashPath)
        return true
      })
      if (aborted === true) await removeTree(trashPath)
      return aborted ?? false
    },
  }
}
