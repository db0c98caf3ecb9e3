/** What a new stream can use of an earlier run that did not end well: its upload id, and its temp file. */
import type { Checkpoint, Spooling } from '../disk/checkpoint.js'
import { TempFile, TempFileDamage } from '../disk/temp-file.js'
import type { UploadContext } from './context.js'
import { isAnyFreed } from './freed.js'
import type { UploadSettings } from './options.js'
import { adopt, initiationDigest } from './phase.js'

/**
 * An upload id of an earlier run serves if all that is sent at initiation is the same (rule 4). A
 * bounded spool borrows none of a sealed upload: it may have to leave it, and its freed parts with it.
 */
export function adoptFrom(
  before: Checkpoint | null,
  fresh: Spooling,
  { maxSpoolBytes }: UploadSettings,
): Spooling {
  const sealed = before?.previous?.uploadId
  for (const donor of [before?.upload, before?.previous]) {
    const own = donor?.phase === 'spooling' && donor.uploadId !== sealed
    const usable = donor?.phase === 'spooling' || donor?.phase === 'sealed'
    if (maxSpoolBytes !== undefined && !own) continue
    if (usable && donor.digest === fresh.digest && donor.uploadId !== undefined) {
      return adopt(fresh, donor)
    }
  }
  return fresh
}

/** The temp file of an unsealed earlier run, where source and caller can continue behind it. */
export async function reusable(
  context: UploadContext,
  { upload }: Checkpoint,
  settings: UploadSettings,
  plan: Spooling['plan'],
): Promise<{ file: TempFile; record: Spooling } | undefined> {
  const wanted = settings.replay === 'offset' && upload.replay === 'offset'
  if (!wanted || upload.phase !== 'spooling') return undefined
  if (upload.plan.base !== plan.base || upload.plan.cap !== plan.cap) return undefined
  // What is not here can neither be hashed nor be sent under another upload id.
  const { md5, sha256 } = settings.expect
  const asIs = initiationDigest(settings.object) === upload.digest && !md5 && !sha256
  if (isAnyFreed(upload) && !asIs) return undefined
  try {
    return { file: await TempFile.open(context.claim.directory, upload.file), record: upload }
  } catch (error) {
    if (error instanceof TempFileDamage) return undefined
    throw error
  }
}
