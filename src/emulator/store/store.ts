/**
 * Persistent state, in files. No index is kept in memory that could become stale, so several processes may
 * use a directory concurrently, and any of them may be killed at any time. Nothing is fsynced: data
 * survives process crashes, not system crashes.
 */
import { join } from 'node:path'
import { createAccountStore, type AccountStore } from './account.js'
import { createBucketStore, type BucketStore } from './buckets.js'
import { makeDir, listDir } from './files.js'
import { createLayout } from './layout.js'
import { createRunExclusive } from './lock.js'
import { directoryLockName, finishComplete, readVersions, removeLeftovers } from './object-dir.js'
import { createObjectStore, type ObjectStore } from './objects.js'
import type { StoreContext } from './store-context.js'
import { createUploadStore, type UploadStore } from './uploads.js'
import { openWorkspace } from './workspace.js'

/** An open data directory. */
export interface Store {
  readonly account: AccountStore
  readonly buckets: BucketStore
  readonly objects: ObjectStore
  readonly uploads: UploadStore
  /** Returns a unique path for incoming bytes. */
  tempPath(): string
  close(): Promise<void>
}

/** Opens a data directory, creating it if missing. Recovers from operations interrupted by a crash. */
export async function openStore(root: string): Promise<Store> {
  const layout = createLayout(root)
  for (const dir of [layout.buckets, layout.locks]) await makeDir(dir)
  const { workspace, crashed } = await openWorkspace(layout.temp)
  const context: StoreContext = {
    layout,
    workspace,
    runExclusive: createRunExclusive(layout.locks),
  }
  const buckets = createBucketStore(layout, workspace, context.runExclusive)
  if (crashed) await recoverFromCrash(context, buckets)
  return {
    account: createAccountStore(layout, workspace),
    buckets,
    objects: createObjectStore(context),
    uploads: createUploadStore(context),
    tempPath: () => workspace.tempPath(),
    close: () => workspace.close(),
  }
}

/**
 * Restores buckets whose removal was interrupted, moves parts that an interrupted Complete left behind, and removes
 * bodies without a record.
 */
async function recoverFromCrash(context: StoreContext, buckets: BucketStore): Promise<void> {
  const { layout, runExclusive } = context
  for (const bucket of await listDir(layout.buckets)) {
    await buckets.repair(bucket)
    for (const name of await listDir(layout.objects(bucket))) {
      const dir = join(layout.objects(bucket), name)
      await runExclusive(directoryLockName(bucket, name), async () => {
        const versions = await readVersions(dir)
        await finishComplete(context, bucket, versions)
        await removeLeftovers(dir, versions)
      })
    }
  }
}
