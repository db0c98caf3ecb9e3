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
  /** Creates the directories that an interrupted `remove` of an existing bucket has removed. */
  repair(name: string): Promise<void>
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

  const makeDirs = async (name: string) => {
    await makeDir(layout.objects(name))
    await makeDir(layout.uploads(name))
  }

  const isEmpty = async (name: string) =>
    (await listDir(layout.objects(name))).length === 0 &&
    (await listDir(layout.uploads(name))).length === 0

  const update: BucketStore['update'] = (name, edit) =>
    withLock(name, async () => {
      const record = edit(await get(name))
      await makeDirs(name)
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
        if (!(await isEmpty(name))) return false
        const trashPath = workspace.tempPath()
        try {
          await rmdir(layout.objects(name)) // fails if an object was created just now
          await rmdir(layout.uploads(name))
        } catch (error) {
          if (!hasErrorCode(error, 'ENOTEMPTY', 'EEXIST')) throw error
          await makeDirs(name)
          return false
        }
        await rename(join(layout.buckets, name), trashPath)
        await removeTree(trashPath)
        return true
      }),
    repair: name =>
      withLock(name, async () => {
        if ((await get(name)) !== undefined) await makeDirs(name)
      }),
  }
}
