/** How a stream ends that was not finished: what is sealed stays, what is not is a record without bytes. */
import type { Spooling } from '../disk/checkpoint.js'
import type { Claim } from '../disk/claim.js'
import type { TempFile } from '../disk/temp-file.js'
import { timestamp } from './phase.js'

/** Asked once it is known whether the seal, which may have been under way, is durable. */
export type AbandonReason = (sealed: boolean) => { code: string; message: string }

/**
 * Leaves the upload to the next owner; nothing works on it any more.
 * @param howFar what is known of it; `continues`: with what a source that continues needs besides
 */
export async function leaveUnfinished(
  claim: Claim,
  file: TempFile,
  howFar: (continues: boolean) => Partial<Spooling>,
  reason: AbandonReason,
): Promise<void> {
  // Of a short stream nothing may have been written yet.
  const state = (await claim.durable()) ?? claim.checkpoint
  if (state === null) return claim.remove()
  const { upload } = state
  const unsealed = upload.phase === 'spooling'
  const error = reason(!unsealed)
  const failure = { code: error.code, message: error.message, at: timestamp() }
  if (unsealed && upload.replay === 'restart') await file.remove()
  const now = howFar(unsealed && upload.replay === 'offset')
  try {
    if (upload.phase !== 'published') {
      await claim.save({ ...state, upload: { ...upload, ...now, error: failure } })
    }
  } catch (cause) {
    if (claim.saved === null) reason(false)
    throw cause
  } finally {
    await claim.releaseOrRemove()
  }
}
