/** Lifecycle rules of all buckets: aborts uploads and removes objects that are due. */
import type { EmulatorContext } from './emulator-context.js'
import { configurationOf, LIFECYCLE } from './operations/bucket-configuration.js'
import { deleteVersion } from './operations/object-delete.js'
import { isObjectDue, isUploadDue, parseLifecycle } from './operations/lifecycle-rules.js'
import type { Store } from './store/store.js'

/**
 * Moves the clock ahead and applies the rules.
 *
 * @throws `RangeError` unless `ms` is a number of at least 0 that leads to a valid time
 */
export async function advanceClock(
  { clock, store }: Pick<EmulatorContext, 'clock' | 'store'>,
  ms: number,
): Promise<void> {
  clock.advance(ms)
  await applyRules(store, clock.now())
}

async function applyRules(store: Store, now: number): Promise<void> {
  for (const bucket of await store.buckets.list()) {
    const { name, versioning } = bucket
    const document = configurationOf(bucket, LIFECYCLE)
    if (document === undefined) continue
    const rules = await parseLifecycle(document)
    for (const upload of await store.uploads.list(name))
      if (isUploadDue(rules, upload, now)) await store.uploads.abort(name, upload)
    for (const key of await store.objects.listKeys(name)) {
      const object = await store.objects.get(name, key)
      if (object !== undefined && isObjectDue(rules, object, now))
        await deleteVersion({ store, bucket: name, versioning, now }, key, undefined)
    }
  }
}
