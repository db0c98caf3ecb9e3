/** Buckets: a directory each, there once its record is. */
import { rename, rmdir } from 'node:fs/promises'
import { join } from 'node:path'
import { hasCode, makeDir, namesIn, readJson, removeTree, writeJson } from './files.js'
import type { Layout } from './layout.js'
import type { Exclusive } from './lock.js'
import type { BucketRecord } from './record.js'
import type { Workspace } from './workspace.js'

/** The rules of OSS for names; also what keeps a name from being a path. */
export function isBucketName(name: string): boolean {
  return /^[a-z0-9][a-z0-9_-]{1,61}[a-z0-9]$/.test(name)
}

/** The buckets of one data directory. */
export interface Buckets {
  get(name: string): Promise<BucketRecord | undefined>
  /** In order of their names. */
  list(): Promise<BucketRecord[]>
  /** Makes it, or changes it if it is there. */
  put(record: BucketRecord): Promise<void>
  /** Makes it unless it is there. */
  ensure(record: BucketRecord): Promise<void>
  /** False if it holds objects or unfinished uploads. */
  remove(name: string): Promise<boolean>
}

export function bucketsIn(layout: Layout, workspace: Workspace, exclusive: Exclusive): Buckets {
  const get = (name: string) =>
    isBucketName(name)
      ? readJson<BucketRecord>(layout.bucketRecord(name))
      : Promise.resolve(undefined)

  async function put(record: BucketRecord): Promise<void> {
    await makeDir(layout.objects(record.name))
    await makeDir(layout.uploads(record.name))
    await writeJson(workspace.fresh(), layout.bucketRecord(record.name), record)
  }

  return {
    get,
    async list() {
      const names = (await namesIn(layout.buckets)).toSorted()
      const records = await Promise.all(names.map(get))
      return records.filter(record => record !== undefined)
    },
    put,
    async ensure(record) {
      if ((await get(record.name)) !== undefined) return
      await exclusive(`bucket ${record.name}`, async () => {
        if ((await get(record.name)) === undefined) await put(record)
      })
    },
    async remove(name) {
      const grave = workspace.fresh()
      try {
        await rmdir(layout.objects(name)) // refuses while there is an object
        await rmdir(layout.uploads(name))
      } catch (error) {
        if (!hasCode(error, 'ENOTEMPTY', 'EEXIST')) throw error
        await makeDir(layout.objects(name))
        return false
      }
      await rename(join(layout.buckets, name), grave)
      await removeTree(grave)
      return true
    },
  }
}
