/**
 * Everything that outlives a request, in files. There is no index in memory that could go stale:
 * several processes may work on one directory at once, and any of them may be killed at any moment.
 * Nothing is fsync'ed: it survives the death of processes, not of the machine.
 */
import { join } from 'node:path'
import { createBucketStore, type BucketStore } from './buckets.js'
import { makeDir, listDir, readJsonFile } from './files.js'
import { createLayout } from './layout.js'
import { createRunExclusive } from './lock.js'
import { directoryLockName, RECORD_FILE, finishComplete, removeLeftovers } from './object-dir.js'
import { createObjectStore, type ObjectStore } from './objects.js'
import type { StoreContext } from './context.js'
import type { ObjectRecord } from './record.js'
import { createUploadStore, type UploadStore } from './uploads.js'
import { openWorkspace } from './workspace.js'

/** One data directory, open. */
export interface Store {
  readonly buckets: BucketStore
  readonly objects: ObjectStore
  readonly uploads: UploadStore
  /** A path for bytes that are just coming in. */
  tempPath(): string
  close(): Promise<void>
}

/** Opens a data directory, made if need be; mends what a killed process left half done. */
export async function openStore(root: string): Promise<Store> {
  const layout = createLayout(root)
  for (const dir of [layout.buckets, layout.locks]) await makeDir(dir)
  const { workspace, crashed } = await openWorkspace(layout.temp)
  const context: StoreContext = {
    layout,
    workspace,
    runExclusive: createRunExclusive(layout.locks),
  }
  if (crashed) await recoverFromCrash(context)
  return {
    buckets: createBucketStore(layout, workspace, context.runExclusive),
    objects: createObjectStore(context),
    uploads: createUploadStore(context),
    tempPath: () => workspace.tempPath(),
    close: () => workspace.close(),
  }
}

/** Bodies without a record, records whose parts were not moved yet: put in order or removed. */
async function recoverFromCrash(context: StoreContext): Promise<void> {
  const { layout, runExclusive } = context
  for (const bucket of await listDir(layout.buckets))
    for (const name of await listDir(layout.objects(bucket))) {
      const dir = join(layout.objects(bucket), name)
      await runExclusive(directoryLockName(bucket, name), async () => {
        const record = await readJsonFile<ObjectRecord>(join(dir, RECORD_FILE))
        if (record !== undefined) await finishComplete(context, bucket, record)
        await removeLeftovers(dir, record)
      })
    }
}
