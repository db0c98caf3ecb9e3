/** Lifecycle rules of all buckets: aborts uploads and removes objects that are due. */
import type { EmulatorContext } from './emulator-context.js'
import { configurationOf, LIFECYCLE } from './operations/bucket-configuration.js'
import { isObjectDue, isUploadDue, parseLifecycle } from './operations/lifecycle-rules.js'
import type { Store } from './store/store.js'

/**
 * Moves the clock ahead and applies the rules.
 *
 * @throws `RangeError` unless `ms` is a number of at least 0
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
    const document = configurationOf(bucket, LIFECYCLE)
    if (document === undefined) continue
    const rules = await parseLifecycle(document)
    for (const upload of await store.uploads.list(bucket.name))
      if (isUploadDue(rules, upload, now)) await store.uploads.abort(bucket.name, upload)
    for (const key of await store.objects.listKeys(bucket.name)) {
      const object = await store.objects.get(bucket.name, key)
      if (object !== undefined && isObjectDue(rules, object, now))
        await store.objects.remove(bucket.name, key)
    }
  }
}
