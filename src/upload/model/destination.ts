/**
 * Moves an upload to another place (`resume` with `to`): pure functions. The checkpoint keeps each old place with
 * what may be left of the upload there, until that is settled.
 */
import { resumableSlot } from '../../disk/checkpoint.js'
import type {
  Checkpoint,
  ObjectAddress,
  OldPlace,
  Published,
  UploadRecord,
} from '../../disk/checkpoint.js'
import type { KeptPlace } from '../../hint.js'
import type { Place } from '../../oss/bucket.js'
import { freedParts, hasFreedParts } from './freed-parts.js'
import {
  addUnanswered,
  backToSealed,
  mayBePublished,
  publishMethod,
  timestamp,
  withLostInitiates,
  withUploadId,
} from './phase.js'

/** A place and a key: where an object is published. */
export type Destination = Place & { readonly key: string }

/** Returns where `checkpoint` is to be published, or an old place of it. */
export function destinationOf(at: Destination): Destination {
  const { endpoint, region, bucket, cname, pathStyle, key } = at
  return { endpoint, region, bucket, cname, pathStyle, key }
}

/** Returns whether two addresses are those of the same object. */
export function isSameObject(a: ObjectAddress, b: ObjectAddress): boolean {
  return a.endpoint === b.endpoint && a.bucket === b.bucket && a.key === b.key
}

/** Returns whether an unfinished upload was moved to `object`, so that no other one may publish there. */
export function isMovedTo(checkpoint: Checkpoint, object: ObjectAddress): boolean {
  const { movedFrom, upload } = checkpoint
  return movedFrom !== undefined && upload.phase !== 'published' && isSameObject(checkpoint, object)
}

/** Returns whether the record is of a finished upload that only waits for its clean-up, and is no receipt. */
export function isOver({ upload }: Checkpoint): boolean {
  return upload.phase === 'published' && !upload.once
}

/** Returns whether bytes that the upload in `record` needs at another place are no longer on this disk. */
export function lacksBytes(record: UploadRecord): boolean {
  if (record.phase !== 'spooling') return hasFreedParts(record)
  return freedParts(record, record.committed?.size ?? record.spooled).length > 0
}

/** Returns where the bytes are that `resume` can publish. */
export function keptPlaceOf(checkpoint: Checkpoint): KeptPlace {
  const slot = resumableSlot(checkpoint)
  const record = slot && checkpoint[slot]
  if (record === undefined) return 'nowhere'
  if (!lacksBytes(record)) return 'here'
  // Someone else's object was found instead of the upload id.
  const isUploadIdGone =
    record.phase === 'completing' && record.error?.code === 'ERR_SPOOL_OBJECT_EXISTS'
  return isUploadIdGone ? 'nowhere' : 'partly on OSS'
}

/**
 * Returns the checkpoint with `to` as its destination. Its bytes are sent again, under another upload id, and it
 * leaves no receipt. An unsealed stream that would supersede the upload is dropped.
 */
export function moveTo(before: Checkpoint, to: Destination): Checkpoint {
  const { endpoint, region, bucket, cname, pathStyle } = to
  const place = { endpoint, region, bucket, cname, pathStyle, key: to.key }
  // A change of the region or of the form of the URL leads to the same object.
  if (isSameObject(before, to)) return { ...before, ...place }
  const left = leftBehind(before)
  const { upload, previous, superseded: _s, unanswered: _u, movedFrom = [], ...rest } = before
  const back = movedFrom.find(each => isSameObject(each, to))
  const others = movedFrom.filter(each => each !== back)
  const kept = resumableSlot(before) === 'previous' && previous !== undefined ? previous : upload
  const moved = restoreUnanswered(withoutRemoteState(kept), back)
  return {
    ...rest,
    ...place,
    upload: moved,
    ...(previous === undefined || kept === previous
      ? {}
      : { previous: withoutRemoteState(previous) }),
    superseded: back?.superseded ?? [],
    ...(back?.unanswered === undefined ? {} : { unanswered: back.unanswered }),
    lost: back?.lost ?? [],
    movedFrom: [...others, ...(left === undefined ? [] : [left])],
  }
}

/** Returns the current place with what may be left there, or `undefined` if that is nothing. */
function leftBehind(before: Checkpoint): OldPlace | undefined {
  const checkpoint = withLostInitiates(before)
  const { upload, previous, superseded, lost } = checkpoint
  const { unanswered = [] } = addUnanswered(addUnanswered(checkpoint, upload), previous)
  const own = [upload.uploadId, previous?.uploadId].filter(uploadId => uploadId !== undefined)
  const uploadIds = [...new Set([...superseded, ...unanswered, ...own])]
  const sent = sentObject(checkpoint, unanswered.length > 0)
  if (uploadIds.length + lost.length === 0 && sent === undefined) return undefined
  return {
    ...destinationOf(checkpoint),
    superseded: uploadIds,
    ...(unanswered.length === 0 ? {} : { unanswered }),
    lost,
    ...(sent === undefined ? {} : { sent }),
  }
}

/**
 * Returns the object that a request without an answer may have published at the current place.
 * @param isUnanswered – there are upload ids whose Complete was not answered; if the upload was moved here and was
 * here before, one of them may have been its own
 */
function sentObject(checkpoint: Checkpoint, isUnanswered: boolean): OldPlace['sent'] {
  const slot = resumableSlot(checkpoint)
  const record = slot === undefined ? undefined : checkpoint[slot]
  if (record === undefined || record.phase === 'spooling' || record.phase === 'published') {
    return undefined
  }
  if (!isUnanswered && !mayBePublished(checkpoint, record)) return undefined
  const { token, size, crc64, imported } = record
  const method = record.phase === 'completing' ? record.method : publishMethod(record)
  const hasToken = imported !== true || method === 'put'
  return { method, ...(hasToken ? { token } : {}), size, crc64 }
}

/** Returns the record without what it says about its place. */
function withoutRemoteState<R extends UploadRecord>(record: R): Exclude<R, { phase: 'completing' }>
function withoutRemoteState(record: UploadRecord): UploadRecord {
  if (record.phase === 'published') return record satisfies Published
  const unsent = record.phase === 'completing' ? backToSealed(record) : record
  const { initiating: _lost, error: _overcome, ...rest } = withUploadId(unsent, undefined)
  const state = { once: false, uploaded: 0, acknowledged: 0, updatedAt: timestamp() }
  if (rest.phase === 'spooling') return { ...rest, ...state }
  const { unansweredPut: _put, ...sealed } = rest
  return { ...sealed, ...state }
}

/** An upload that returns to an old place has the same unanswered requests as before. */
function restoreUnanswered(record: UploadRecord, back: OldPlace | undefined): UploadRecord {
  return record.phase === 'sealed' && back?.sent?.method === 'put'
    ? { ...record, unansweredPut: true }
    : record
}
