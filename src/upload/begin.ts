/** The way into an upload with new bytes: what earlier runs left is settled before the first of them. */
import type { Checkpoint } from '../disk/checkpoint.js'
import { SpoolError } from '../errors.js'
import type { Place } from '../oss/bucket.js'
import type { UploadContext } from './context.js'
import { Ingest } from './ingest.js'
import type { UploadSettings } from './options.js'
import { reconcilePredecessor } from './predecessor.js'
import { takeOverIfBytesLost } from './takeover.js'

/** `continues`: whoever brings the bytes heeds the `offset` of the intake. */
export async function startIngest(
  context: UploadContext,
  place: Place,
  settings: UploadSettings,
  continues: boolean,
): Promise<Ingest> {
  const { checkpoint } = context.claim
  if (checkpoint !== null) checkSameObject(checkpoint, place, context.key)
  return context.runUntilAborted(settings.signal, async () => {
    if (checkpoint !== null) {
      await reconcilePredecessor(context)
      await takeOverIfBytesLost(context)
    }
    return Ingest.begin(context, place, settings, continues)
  })
}

/** @throws SpoolError `ERR_SPOOL_ID_IN_USE` if the id is that of another object */
export function checkSameObject(checkpoint: Checkpoint, place: Place, key: string): void {
  const { id, endpoint, bucket } = checkpoint
  if (bucket === place.bucket && checkpoint.key === key && endpoint === place.endpoint) return
  throw new SpoolError(
    'ERR_SPOOL_ID_IN_USE',
    `The id ${id} belongs to oss://${bucket}/${checkpoint.key} at ${endpoint}`,
    { id },
  )
}
