/**
 * Moves an upload to another place, and keeps two uploads from publishing to the same key because of that.
 *
 * The mover notes its id for the new object, then looks for other uploads that are bound for it, then saves the new
 * place. A starting upload has its lock first, then looks for notes. Either it sees the note and waits until the
 * move is decided, or its lock was there before the note and the mover sees it.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { resumableSlot, type Checkpoint, type ObjectAddress } from '../../disk/checkpoint.js'
import type { Claim } from '../../disk/claim.js'
import type { RecordStore } from '../../disk/record-store.js'
import { SpoolError } from '../../errors.js'
import type { Hint } from '../../hint.js'
import {
  isMovedTo,
  isSameObject,
  lacksBytes,
  moveTo,
  type Destination,
} from '../model/destination.js'
import { defaultId } from '../model/names.js'
import { filesOf } from '../model/phase.js'

/** Times, in ms, after which an undecided upload counts as one in the way. A starting upload waits longer. */
const UNDECIDED_START_MS = 2_000
const UNDECIDED_MOVE_MS = 5_000
const POLL_MS = 20

/**
 * Makes `to` the durable destination of an upload that needs no source. Does nothing to one that needs its source.
 * @throws SpoolError `ERR_SPOOL_ID_IN_USE` if another upload is bound for that object, `ERR_SPOOL_UPLOAD_FAILED` if
 * some bytes are only on OSS; the record is unchanged then
 */
export async function relocate(
  claim: Claim & { checkpoint: Checkpoint },
  to: Destination,
): Promise<void> {
  const { checkpoint, records, id } = claim
  const slot = resumableSlot(checkpoint)
  const record = slot === undefined ? undefined : checkpoint[slot]
  const moved = moveTo(checkpoint, to)
  if (isSameObject(checkpoint, to)) return claim.db.write(moved)
  if (checkpoint.upload.phase === 'published') throw publishedError(checkpoint)
  if (record === undefined || claim.bytesLost) return
  if (lacksBytes(record)) throw bytesOnlyThereError(checkpoint)
  await records.noteMove(to, id)
  try {
    await refuseIfMovedTo(records, id, to, 0) // of two movers, at least one sees the other's note
    await refuseIfOtherIsBound(records, id, to)
  } catch (error) {
    await records.forgetMoves(id, checkpoint)
    throw error
  }
  await claim.db.write(moved)
  await claim.removeOtherFiles(filesOf(moved)) // of a stream that was dropped
  await records.forgetMoves(id, to)
}

/** @throws SpoolError `ERR_SPOOL_ID_IN_USE` if another unfinished upload is bound for `to` */
async function refuseIfOtherIsBound(
  records: RecordStore,
  id: string,
  to: Destination,
): Promise<void> {
  // The default id may have a lock, but no record yet.
  for (const other of new Set([...(await records.ids()), defaultId(to, to.key)])) {
    if (other === id) continue
    const isBound = await decided(UNDECIDED_START_MS, async () => {
      const checkpoint = await readable(records, other)
      if (checkpoint !== null && checkpoint.upload.phase !== 'published') {
        return isSameObject(checkpoint, to)
      }
      // Its owner, if any, may be about to save a first record, or a stream over a receipt.
      return (await records.owner(other)) === undefined ? false : undefined
    })
    if (isBound) throw await inUseError(records, other, to, `Upload ${other} is bound for it`)
  }
}

/**
 * @param limit – how long to wait, in ms, until another process decides whether it moves an upload there
 * @throws SpoolError `ERR_SPOOL_ID_IN_USE` if another upload was moved to `to` and is unfinished
 */
export async function refuseIfMovedTo(
  records: RecordStore,
  id: string,
  to: Destination,
  limit = UNDECIDED_MOVE_MS,
): Promise<void> {
  for (const other of await records.movesTo(to)) {
    if (other === id) continue
    const isMoved = await decided(limit, async () => {
      const checkpoint = await readable(records, other)
      if (checkpoint === null) return false
      if (isMovedTo(checkpoint, to)) return true
      // Its owner may be about to move it.
      return (await records.owner(other)) === undefined ? false : undefined
    })
    if (isMoved) throw await inUseError(records, other, to, `Upload ${other} was moved there`)
  }
}

/** Repeats `ask` until it knows; `true` if it does not within `limit` ms. */
async function decided(limit: number, ask: () => Promise<boolean | undefined>): Promise<boolean> {
  for (const end = performance.now() + limit; ; await sleep(POLL_MS)) {
    const answer = await ask()
    if (answer !== undefined) return answer
    if (performance.now() > end) return true
  }
}

/** A record that is damaged or cannot be read stops no other upload (rule 10). */
function readable(records: RecordStore, id: string): Promise<Checkpoint | null> {
  return records.read(id).catch(() => null)
}

async function inUseError(
  records: RecordStore,
  other: string,
  { bucket, key }: ObjectAddress,
  why: string,
): Promise<SpoolError> {
  return new SpoolError(
    'ERR_SPOOL_ID_IN_USE',
    `oss://${bucket}/${key} is the destination of another upload. ${why}, and is not finished`,
    { id: other, hint: await inUseHint(records, other) },
  )
}

async function inUseHint(records: RecordStore, other: string): Promise<Hint> {
  const owner = await records.owner(other)
  if (owner !== undefined) return `Wait until process ${owner.pid} on ${owner.host} has ended it.`
  const checkpoint = await readable(records, other)
  const isResumable = checkpoint !== null && resumableSlot(checkpoint) !== undefined
  return say => {
    const finish = isResumable ? `To finish it first, ${say.resume(other)}. ` : ''
    return `${finish}To discard it, ${say.abort(other)}.`
  }
}

function publishedError({ id, bucket, key }: Checkpoint): SpoolError {
  return new SpoolError(
    'ERR_SPOOL_NOT_FOUND',
    `Upload ${id} is already published at oss://${bucket}/${key}, so it cannot be moved`,
    { id, hint: 'Copy the object on OSS instead.' },
  )
}

function bytesOnlyThereError({ id, bucket, key }: Checkpoint): SpoolError {
  return new SpoolError(
    'ERR_SPOOL_UPLOAD_FAILED',
    `Upload ${id} cannot be moved: some of its bytes are only on OSS, under its upload id at oss://${bucket}/${key}. Nothing was changed`,
    {
      id,
      resumable: true,
      hint: say => `To finish it where it is, ${say.resume(id)}.`,
    },
  )
}
