/** Buckets. Each is a directory and exists once its record does. */
import { rmdir } from 'node:fs/promises'
import { join } from 'node:path'
import {
  hasErrorCode,
  makeDir,
  listDir,
  readJsonFile,
  removeTree,
  rename,
  writeJsonFile,
} from './files.js'
import type { Layout } from './layout.js'
import type { RunExclusive } from './lock.js'
import type { BucketRecord } from './record.js'
import type { Workspace } from './workspace.js'

/** Returns whether a name follows OSS's rules, which also exclude dots and path separators. */
export function isBucketName(name: string): boolean {
  return /^[a-z0-9][a-z0-9_-]{1,61}[a-z0-9]$/.test(name)
}

/** The buckets of one data directory. */
export interface BucketStore {
  get(name: string): Promise<BucketRecord | undefined>
  /** Lists the buckets in order of their names. */
  list(): Promise<BucketRecord[]>
  /**
   * Creates or changes a bucket.
   *
   * @param edit – called under the lock, with undefined for a new bucket; may throw to change nothing
   */
  update(name: string, edit: (old: BucketRecord | undefined) => BucketRecord): Promise<void>
  /** Creates a bucket unless it exists. */
  ensure(record: BucketRecord): Promise<void>
  /** Removes a bucket. Resolves with false if it holds objects or unfinished uploads. */
  remove(name: string): Promise<boolean>
}

export function createBucketStore(
  layout: Layout,
  workspace: Workspace,
  runExclusive: RunExclusive,
): BucketStore {
  const get = (name: string) =>
    isBucketName(name)
      ? readJsonFile<BucketRecord>(layout.bucketRecord(name))
      : Promise.resolve(undefined)

  const withLock = <T>(name: string, work: () => Promise<T>) => runExclusive(`bucket ${name}`, work)

  const update: BucketStore['update'] = (name, edit) =>
    withLock(name, async () => {
      const record = edit(await get(name))
      await makeDir(layout.objects(name))
      await makeDir(layout.uploads(name))
      await writeJsonFile(workspace.tempPath(), layout.bucketRecord(name), record)
    })

  return {
    get,
    async list() {
      const names = (await listDir(layout.buckets)).toSorted()
      const records = await Promise.all(names.map(get))
      return records.filter(record => record !== undefined)
    },
    update,
    async ensure(record) {
      if ((await get(record.name)) === undefined) await update(record.name, old => old ?? record)
    },
    remove: name =>
      withLock(name, async () => {
        const trashPath = workspace.tempPath()
        try {
          await rmdir(layout.objects(name)) // fails while there is an object
          await rmdir(layout.uploads(name))
        } catch (error) {
          if (!hasErrorCode(error, 'ENOTEMPTY', 'EEXIST')) throw error
          await makeDir(layout.objects(name))
          return false
        }
        await rename(join(layout.buckets, name), trashPath)
        await removeTree(trashPath)
        return true
      }),
  }
}
