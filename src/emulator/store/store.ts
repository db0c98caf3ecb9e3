/**
 * Everything that outlives a request, in files. There is no index in memory that could go stale:
 * several processes may work on one directory at once, and any of them may be killed at any moment.
 * Nothing is fsync'ed: it survives the death of processes, not of the machine.
 */
import { join } from 'node:path'
import { bucketsIn, type Buckets } from './buckets.js'
import { makeDir, namesIn, readJson } from './files.js'
import { layoutOf } from './layout.js'
import { locksIn } from './lock.js'
import { directoryTopic, RECORD, settle, sweep } from './object-dir.js'
import { objectsIn, type Objects } from './objects.js'
import type { Place } from './place.js'
import type { ObjectRecord } from './record.js'
import { uploadsIn, type Uploads } from './uploads.js'
import { openWorkspace } from './workspace.js'

/** One data directory, open. */
export interface Store {
  readonly buckets: Buckets
  readonly objects: Objects
  readonly uploads: Uploads
  /** A path for bytes that are just coming in. */
  fresh(): string
  close(): Promise<void>
}

/** Opens a data directory, made if need be; mends what a killed process left half done. */
export async function openStore(root: string): Promise<Store> {
  const layout = layoutOf(root)
  for (const dir of [layout.buckets, layout.locks]) await makeDir(dir)
  const { workspace, crashed } = await openWorkspace(layout.temp)
  const place: Place = { layout, workspace, exclusive: locksIn(layout.locks) }
  if (crashed) await mend(place)
  return {
    buckets: bucketsIn(layout, workspace, place.exclusive),
    objects: objectsIn(place),
    uploads: uploadsIn(place),
    fresh: () => workspace.fresh(),
    close: () => workspace.close(),
  }
}

/** Bodies without a record, records whose parts were not moved yet: put in order or removed. */
async function mend(place: Place): Promise<void> {
  const { layout, exclusive } = place
  for (const bucket of await namesIn(layout.buckets))
    for (const name of await namesIn(layout.objects(bucket))) {
      const dir = join(layout.objects(bucket), name)
      await exclusive(directoryTopic(bucket, name), async () => {
        const record = await readJson<ObjectRecord>(join(dir, RECORD))
        if (record !== undefined) await settle(place, bucket, record)
        await sweep(dir, record)
      })
    }
}
