/**
 * The state machine of one upload. Each arrow is a function from one type of record to the next, so
 * an illegal transition does not compile; a new state counts only once the claim has saved it.
 *
 *   phase       durable facts                            what a new process does
 *   spooling    token, key, plan, maybe an upload id     needs the source; equal parts are not sent again
 *   sealed      size, CRC64, every byte on this disk     sends what OSS does not list, completes
 *               or, of what is freed, on OSS
 *   completing  Complete or PutObject may be on its way  asks OSS first: was it us? (rule 8)
 *   published   the object was verified                  removes what is left; keeps a receipt if asked
 *
 *   spooling --seal--> sealed --complete--> completing --publish--> published --> (removed)
 *      ^                 |^------- reopen -------'|
 *      |----- unseal ----|------------------------|   OSS lost bytes that only OSS had
 *      '---- displace ---'------------------------'   where the disk is gone that had the bytes
 */
import { randomUUID } from 'node:crypto'
import { digestOf } from '../../disk/checkpoint.js'
import type {
  Checkpoint,
  Completing,
  Finishable,
  Published,
  Sealed,
  Spooling,
  UploadRecord,
} from '../../disk/checkpoint.js'
import { initiationHeaders, type ObjectOptions } from '../../oss/object-headers.js'
import type { Place } from '../../oss/bucket.js'
import { omitUndefined } from '../../util/omit-undefined.js'
import { hasFreedParts } from './freed-parts.js'
import { isSinglePut, partsOf, type CutPart, type Plan } from './plan.js'

/** What a stream starts with. */
export interface StreamStart {
  readonly plan: Plan
  readonly object: ObjectOptions
  readonly replay: 'restart' | 'offset'
  readonly once: boolean
  /** Name of the temp file. */
  readonly file: string
}

/** A new stream's record, with a token of its own. */
export function startSpooling(start: StreamStart): Spooling {
  const now = timestamp()
  return {
    phase: 'spooling',
    ...start,
    token: randomUUID(),
    digest: initiationDigest(start.object),
    createdAt: now,
    updatedAt: now,
    crcs: [],
    spooled: 0,
    uploaded: 0,
    acknowledged: 0,
  }
}

/** Takes over an upload id, and with it the token, if any, that was sent at its initiation. */
export function adoptUploadId(
  record: Spooling,
  from: Pick<Spooling, 'token' | 'uploadId' | 'imported'>,
): Spooling {
  const { token, uploadId, imported } = from
  if (uploadId === undefined) return record
  return { ...record, token, uploadId, ...(imported === true ? { imported } : {}) }
}

/** The source ended well; the caller has synced the temp file. */
export function seal(
  record: Spooling,
  end: { size: number; crc64: bigint; crcs: string[]; md5?: string; sha256?: string },
): Sealed {
  const now = timestamp()
  const { error: _settled, ...rest } = record
  const { md5, sha256 } = end
  return {
    ...rest,
    phase: 'sealed',
    size: end.size,
    spooled: end.size,
    crc64: String(end.crc64),
    crcs: end.crcs,
    ...(hasFreedParts(record) ? { digests: omitUndefined({ md5, sha256 }) } : {}),
    sealedAt: now,
    updatedAt: now,
  }
}

/** Bytes are lost that OSS alone had: the source is needed again. */
export function unseal(record: Finishable): Spooling {
  const {
    size: _size,
    crc64: _crc64,
    sealedAt: _at,
    ...rest
  } = withUploadId(reopen(record), undefined)
  const { freed: _freed, digests: _digests, ...bare } = rest
  const nothing = { crcs: [], spooled: 0, uploaded: 0, acknowledged: 0 }
  return { ...bare, ...nothing, phase: 'spooling', updatedAt: timestamp() }
}

/** Complete or PutObject is about to be sent; `at` is OSS's time in ms. */
export function complete(record: Sealed, method: Completing['method'], at: number): Completing {
  const completingAt = new Date(at).toISOString()
  return { ...record, phase: 'completing', method, completingAt, updatedAt: timestamp() }
}

/** It is certain that nothing was published. */
export function reopen(record: Finishable): Sealed {
  if (record.phase === 'sealed') return record
  const { completingAt: _at, method: _method, ...rest } = record
  return { ...rest, phase: 'sealed', updatedAt: timestamp() }
}

/** The object is verified on OSS. */
export function publish(
  record: Finishable,
  object: Pick<Published, 'etag' | 'parts' | 'requestId' | 'versionId'>,
): Published {
  const { error: _mended, initiating: _lost, ...rest } = withUploadId(reopen(record), undefined)
  const { freed: _freed, digests: _digests, ...kept } = rest
  return { ...kept, ...object, phase: 'published', uploaded: record.size, updatedAt: timestamp() }
}

/** The upload id is another one now, which we made, or none. */
export function withUploadId<R extends UploadRecord>(record: R, uploadId: string | undefined): R {
  const { uploadId: _old, imported: _whose, ...rest } = record
  // Spreading loses the link between `rest` and R; only optional properties were replaced.
  return { ...rest, ...(uploadId === undefined ? {} : { uploadId }) } as unknown as R
}

/** Digest of all that is sent at initiation; the token apart, which goes with the upload id. */
export function initiationDigest(object: ObjectOptions): string {
  return digestOf(
    JSON.stringify(
      Object.entries(initiationHeaders(object)).toSorted(([a], [b]) => (a < b ? -1 : 1)),
    ),
  )
}

// --- the checkpoint around the record -----------------------------------------------------------

/** The first checkpoint of an id. */
export function newCheckpoint(id: string, place: Place, key: string, upload: Spooling): Checkpoint {
  return { id, ...place, key, upload, superseded: [], lost: [] }
}

/** Whose disk the bytes are on from now on; `undefined` where that is no question. */
export function onHost(checkpoint: Checkpoint, host: string | undefined): Checkpoint {
  return host === undefined ? checkpoint : { ...checkpoint, host }
}

/**
 * Takeover: the bytes are gone with their disk, so the source is needed again, whatever the phase was.
 * What OSS may have stays known: upload id, plan, and the CRC64 of each part. The caller knows that no
 * bytes will ever come back, and that nothing was published.
 */
export function takeOver(checkpoint: Checkpoint, host: string | undefined): Checkpoint {
  const { upload, previous, ...rest } = withLostInitiates(checkpoint)
  // A stream that got no upload id yet has nothing on OSS; a sealed predecessor may have.
  const finishable = previous?.phase === 'published' ? undefined : previous
  const kept = upload.uploadId === undefined ? (finishable ?? upload) : upload
  const other = kept === upload ? previous : upload
  const left = addSuperseded(checkpoint, other?.uploadId, kept.uploadId)
  return onHost({ ...rest, upload: backToSpooling(kept), superseded: left }, host)
}

function backToSpooling(record: UploadRecord): UploadRecord {
  if (record.phase === 'published') return record
  const none = { spooled: 0, uploaded: 0, acknowledged: 0, updatedAt: timestamp() }
  if (record.phase === 'spooling') {
    const { freed: _freed, digests: _digests, ...rest } = record
    return { ...rest, ...none }
  }
  const { size: _size, crc64: _crc64, sealedAt: _at, ...unsealed } = reopen(record)
  const { freed: _freed, digests: _digests, ...rest } = unsealed
  return { ...rest, ...none, phase: 'spooling' }
}

/** True for CRCs of bytes that went with another disk: OSS may have parts that are equal. */
export function isTakenOver({ spooled, crcs }: Spooling): boolean {
  return spooled === 0 && crcs.length > 0
}

/** A run begins on what another one left: an Initiate that was on its way then was lost. */
export function withLostInitiates(checkpoint: Checkpoint): Checkpoint {
  const { upload, previous } = checkpoint
  const lost = [upload.initiating, previous?.initiating].filter(window => window !== undefined)
  if (lost.length === 0) return checkpoint
  return {
    ...checkpoint,
    upload: withoutInitiating(upload),
    ...(previous === undefined ? {} : { previous: withoutInitiating(previous) }),
    lost: [...checkpoint.lost, ...lost],
  }
}

/** Initiate was answered, or can no longer be. */
export function withoutInitiating<R extends UploadRecord>(record: R): R {
  const { initiating: _answered, ...rest } = record
  // Spreading loses the link between `rest` and R; only an optional property was removed.
  return rest as unknown as R
}

/**
 * A new stream begins where others were: one that can be finished stays finishable until the new
 * one is sealed, one that cannot is superseded at once.
 */
export function startSuccessor(checkpoint: Checkpoint, upload: Spooling): Checkpoint {
  const { upload: old, previous } = checkpoint
  if (old.phase !== 'spooling') return { ...checkpoint, upload, previous: old }
  const borrowed = old.uploadId === previous?.uploadId
  return {
    ...checkpoint,
    upload,
    superseded: addSuperseded(checkpoint, borrowed ? undefined : old.uploadId, upload.uploadId),
  }
}

/** The new stream is sealed: this one write makes it the upload and its predecessor history. */
export function replacePrevious(checkpoint: Checkpoint, upload: Sealed): Checkpoint {
  const { previous, ...rest } = checkpoint
  return {
    ...rest,
    upload,
    superseded: addSuperseded(checkpoint, previous?.uploadId, upload.uploadId),
  }
}

/** The predecessor was finished after all; what was begun after it stays as it is. */
export function dropPrevious(checkpoint: Checkpoint): Checkpoint {
  const { previous, ...rest } = checkpoint
  const { upload } = rest
  const borrowed = upload.uploadId !== undefined && upload.uploadId === previous?.uploadId
  return { ...rest, upload: borrowed ? withUploadId(upload, undefined) : upload }
}

/** The upload ids to abort, and one more unless it is still in use. */
export function addSuperseded(
  checkpoint: Checkpoint,
  uploadId: string | undefined,
  inUse?: string,
): string[] {
  const known = checkpoint.superseded.filter(id => id !== inUse)
  return uploadId === undefined || uploadId === inUse || known.includes(uploadId)
    ? known
    : [...known, uploadId]
}

/**
 * The upload ids to abort once the object of `record` is there. HEAD does not tell under which of several
 * it came about; `answered`: the Complete of this one did.
 */
export function uploadIdsToAbort(
  checkpoint: Checkpoint,
  record: Finishable,
  { answered }: { answered: boolean },
): string[] {
  const { uploadId } = record
  const spent =
    publishMethod(record) === 'multipart' && (answered || checkpoint.superseded.length === 0)
  return addSuperseded(checkpoint, uploadId, spent ? uploadId : undefined)
}

/** How a sealed upload is published: a short one by one PutObject. */
export function publishMethod({ plan, size }: Finishable): Completing['method'] {
  return isSinglePut(plan, size) ? 'put' : 'multipart'
}

/** Number of parts of the object; 1 for a single PutObject. */
export function partCount(record: Finishable): number {
  return publishMethod(record) === 'put' ? 1 : record.crcs.length
}

/** All parts of a sealed upload. */
export function cutParts(record: Finishable): CutPart[] {
  return partsOf(record.plan, record.size).map((part, i) => ({
    ...part,
    crc64: BigInt(record.crcs[i] ?? -1),
  }))
}

/** Names of the temp files that the checkpoint still needs. */
export function filesOf(checkpoint: Checkpoint): string[] {
  return [checkpoint.upload, checkpoint.previous]
    .filter(record => record !== undefined && record.phase !== 'published')
    .map(record => record.file)
}

export function timestamp(): string {
  return new Date().toISOString()
}
