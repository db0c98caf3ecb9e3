/**
 * The state machine of one upload. Each arrow is a function from one type of record to the next, so
 * an illegal transition does not compile. A new state takes effect only once the claim has saved it.
 *
 *   phase       durable facts                            next process
 *   spooling    token, key, plan, maybe an upload id     needs the source; does not resend equal parts
 *   sealed      size, CRC64, every byte on this disk     sends parts that OSS does not list, completes
 *               or, for freed parts, on OSS
 *   completing  Complete or PutObject may be in flight   first asks OSS whether it succeeded (rule 8)
 *   published   the object was verified                  cleans up; keeps a receipt if requested
 *
 *   A stream in `spooling` with a commit counts as sealed there: `resume`, or a successor, seals it at its last
 *   commit.
 *
 *   spooling --seal--> sealed --startCompleting--> completing --markPublished--> published --> (removed)
 *      ^                 |^------- backToSealed ------'|
 *      |----- unseal ----|-----------------------------|   OSS lost bytes that only it had
 *      '---- takeOver ---'-----------------------------'   the disk with the bytes is gone
 */
import { randomUUID } from 'node:crypto'
import { digestOf } from '../../disk/checkpoint.js'
import type {
  Checkpoint,
  Committed,
  Completing,
  CompressedSource,
  Finishable,
  Published,
  Sealed,
  Spooling,
  UploadRecord,
} from '../../disk/checkpoint.js'
import { initiationHeaders, type ObjectOptions } from '../../oss/object-headers.js'
import type { Place } from '../../oss/bucket.js'
import { omitUndefined } from '../../util/omit-undefined.js'
import { addFreed, freedParts, hasFreedParts } from './freed-parts.js'
import { isSinglePut, partsOf, type CutPart, type Plan } from './plan.js'

/** Initial fields of a new stream's record. */
export interface StreamStart {
  readonly plan: Plan
  readonly object: ObjectOptions
  readonly replay: 'restart' | 'offset'
  readonly once: boolean
  /** Name of the temp file. */
  readonly file: string
}

/** What is known of a stream once it has ended. */
export interface StreamEnd {
  readonly size: number
  readonly crc64: bigint
  readonly crcs: string[]
  readonly md5?: string
  readonly sha256?: string
  /** The bytes before their compression. */
  readonly source?: CompressedSource | undefined
}

/** Returns the record of a new stream, with its own token. */
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

/** Takes over an upload id together with the token, if any, that its Initiate sent. */
export function adoptUploadId(
  record: Spooling,
  from: Pick<Spooling, 'token' | 'uploadId' | 'imported'>,
): Spooling {
  const { token, uploadId, imported } = from
  if (uploadId === undefined) return record
  return { ...record, token, uploadId, ...(imported === true ? { imported } : {}) }
}

/** Seals a stream: its source ended successfully, and the caller has synced the temp file. */
export function seal(record: Spooling, end: StreamEnd): Sealed {
  const now = timestamp()
  const { error: _resolved, committed: _covered, ...rest } = record
  const { md5, sha256, source } = end
  return {
    ...rest,
    phase: 'sealed',
    size: end.size,
    spooled: end.size,
    crc64: String(end.crc64),
    crcs: end.crcs,
    ...(source === undefined ? {} : { source }),
    ...(hasFreedParts(record) ? { met: omitUndefined({ md5, sha256 }) } : {}),
    sealedAt: now,
    updatedAt: now,
  }
}

/**
 * Seals a committed stream at its last commit. The caller has truncated the temp file there. It leaves no
 * receipt, since it is not the whole stream.
 */
export function sealAtCommit(record: Spooling & { readonly committed: Committed }): Sealed {
  const { error: _resolved, committed, freed = [], ...rest } = record
  const { size, crc64, crcs, at } = committed
  const stillFreed = addFreed([], freedParts({ plan: record.plan, freed }, size))
  return {
    ...rest,
    ...(stillFreed.length === 0 ? {} : { freed: stillFreed }),
    phase: 'sealed',
    prefix: true,
    once: false,
    size,
    spooled: size,
    crc64,
    crcs,
    uploaded: Math.min(record.uploaded, size),
    acknowledged: Math.min(record.acknowledged, crcs.length),
    sealedAt: at,
    updatedAt: timestamp(),
  }
}

/** Returns to `spooling` because bytes that only OSS had are lost, so the source is needed again. */
export function unseal(record: Finishable): Spooling {
  return { ...backToSpooling(withUploadId(record, undefined)), crcs: [] }
}

/**
 * Records that Complete or PutObject is about to be sent.
 * @param at – OSS's time, in ms since 1970
 */
export function startCompleting(
  record: Sealed,
  method: Completing['method'],
  at: number,
): Completing {
  const completingAt = new Date(at).toISOString()
  return { ...record, phase: 'completing', method, completingAt, updatedAt: timestamp() }
}

/** Returns to `sealed`: it is certain that nothing was published. */
export function backToSealed(record: Finishable): Sealed {
  if (record.phase === 'sealed') return record
  const { completingAt: _at, method: _method, ...rest } = record
  return { ...rest, phase: 'sealed', updatedAt: timestamp() }
}

/** Records that the object is on OSS, verified. */
export function markPublished(
  record: Finishable,
  object: Pick<Published, 'etag' | 'parts' | 'requestId' | 'versionId'>,
): Published {
  const {
    error: _resolved,
    initiating: _lost,
    ...rest
  } = withUploadId(backToSealed(record), undefined)
  const { freed: _freed, met: _met, source: _source, ...kept } = rest
  return { ...kept, ...object, phase: 'published', uploaded: record.size, updatedAt: timestamp() }
}

/** Replaces the upload id with one that we initiated, or removes it. */
export function withUploadId<R extends UploadRecord>(record: R, uploadId: string | undefined): R {
  const { uploadId: _old, imported: _imported, ...rest } = record
  // Spreading loses the link between `rest` and R; only optional properties were replaced.
  return { ...rest, ...(uploadId === undefined ? {} : { uploadId }) } as unknown as R
}

/** Digest of everything that Initiate sends, except the token, which belongs to the upload id. */
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

/** Sets the host whose disk has the bytes; `undefined` if checkpoints are not shared between hosts. */
export function withHost(checkpoint: Checkpoint, host: string | undefined): Checkpoint {
  return host === undefined ? checkpoint : { ...checkpoint, host }
}

/**
 * Takes over an upload whose bytes are gone with their disk, so that the source is needed again, in any phase.
 * Keeps the upload id, the plan and the CRC64 of each part, because OSS may have those parts. The caller has
 * made sure that the bytes are lost for good and that nothing was published.
 */
export function takeOver(checkpoint: Checkpoint, host: string | undefined): Checkpoint {
  const { upload, previous, ...rest } = withLostInitiates(checkpoint)
  // A stream without an upload id has nothing on OSS; its sealed predecessor may have parts there.
  const finishable = previous?.phase === 'published' ? undefined : previous
  const kept = upload.uploadId === undefined ? (finishable ?? upload) : upload
  const other = kept === upload ? previous : upload
  const left = addSuperseded(checkpoint, other?.uploadId, kept.uploadId)
  const taken = {
    ...rest,
    upload: kept.phase === 'published' ? kept : backToSpooling(kept),
    superseded: left,
  }
  return withHost(addUnanswered(addUnanswered(taken, upload), previous), host)
}

function backToSpooling(record: Spooling | Finishable): Spooling {
  const none = { spooled: 0, uploaded: 0, acknowledged: 0, updatedAt: timestamp() }
  if (record.phase === 'spooling') {
    const { freed: _freed, met: _met, committed: _lost, ...rest } = record
    return { ...rest, ...none }
  }
  const {
    size: _size,
    crc64: _crc64,
    sealedAt: _at,
    prefix: _prefix,
    source: _source,
    unansweredPut: _put,
    ...unsealed
  } = backToSealed(record)
  const { freed: _freed, met: _met, ...rest } = unsealed
  return { ...rest, ...none, phase: 'spooling' }
}

/** True if the CRCs are those of bytes lost with another disk; OSS may have parts that are equal. */
export function isTakenOver({ spooled, crcs }: Spooling): boolean {
  return spooled === 0 && crcs.length > 0
}

/** Called when a run continues an earlier one: records an Initiate that was in flight then as lost. */
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

/** Removes the note of an Initiate whose response has arrived or can no longer arrive. */
export function withoutInitiating<R extends UploadRecord>(record: R): R {
  const { initiating: _initiating, ...rest } = record
  // Spreading loses the link between `rest` and R; only an optional property was removed.
  return rest as unknown as R
}

/**
 * Starts a new stream under an id that already has one. The old stream, if sealed, can still be finished until
 * the new one is sealed; otherwise it is superseded at once.
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

/** Seals the new stream and drops its predecessor, in a single write. */
export function replacePrevious(checkpoint: Checkpoint, upload: Sealed): Checkpoint {
  const { previous, ...rest } = checkpoint
  const superseded = addSuperseded(checkpoint, previous?.uploadId, upload.uploadId)
  return addUnanswered({ ...rest, upload, superseded }, previous)
}

/** Drops the predecessor, because it was finished or its bytes are lost. The later stream is unchanged. */
export function dropPrevious(checkpoint: Checkpoint): Checkpoint {
  const { previous, ...rest } = checkpoint
  const { upload } = rest
  const borrowed = upload.uploadId !== undefined && upload.uploadId === previous?.uploadId
  return { ...rest, upload: borrowed ? withUploadId(upload, undefined) : upload }
}

/** Returns the upload ids to abort, with `uploadId` added and `inUse`, which is still needed, left out. */
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

/** Notes that the Complete of `record`, if one was sent, was not answered, so that it may still take effect. */
export function addUnanswered(
  checkpoint: Checkpoint,
  record: UploadRecord | undefined,
): Checkpoint {
  if (record?.phase !== 'completing' || record.method !== 'multipart') return checkpoint
  const { uploadId } = record
  const known = checkpoint.unanswered ?? []
  if (uploadId === undefined || known.includes(uploadId)) return checkpoint
  return { ...checkpoint, unanswered: [...known, uploadId] }
}

/** Notes that nothing can take effect under `uploadId` any more: OSS says that it does not exist. */
export function removeUnanswered(checkpoint: Checkpoint, uploadId: string): Checkpoint {
  const { unanswered = [], ...rest } = checkpoint
  const left = unanswered.filter(each => each !== uploadId)
  return left.length === 0 ? rest : { ...rest, unanswered: left }
}

/**
 * Sets the upload ids to abort of a published upload. A Complete under any other one was answered, or can no longer
 * take effect.
 */
export function withUploadIdsToAbort(checkpoint: Checkpoint, uploadIds: string[]): Checkpoint {
  const settled = (checkpoint.unanswered ?? []).filter(uploadId => !uploadIds.includes(uploadId))
  return settled.reduce(removeUnanswered, { ...checkpoint, superseded: uploadIds })
}

/**
 * Returns the checkpoint with the receipt of the finished predecessor in place of the later stream, which did not
 * end.
 * @param unused – upload ids to abort, except the one of the later stream
 */
export function keepReceipt(
  checkpoint: Checkpoint,
  receipt: Published,
  unused: string[],
): Checkpoint {
  const { previous, upload, ...rest } = withLostInitiates(checkpoint)
  const borrowed = upload.uploadId === previous?.uploadId
  const superseded = addSuperseded(
    { ...checkpoint, superseded: unused },
    borrowed ? undefined : upload.uploadId,
  )
  return withUploadIdsToAbort({ ...rest, upload: receipt }, superseded)
}

/** True if an unanswered Complete or PutObject may have published `record`, although it is in phase `sealed`. */
export function mayBePublished({ unanswered }: Checkpoint, record: UploadRecord): boolean {
  if (record.phase === 'completing') return true
  if (record.phase === 'sealed' && record.unansweredPut === true) return true
  return record.uploadId !== undefined && unanswered?.includes(record.uploadId) === true
}

/** Returns the older upload ids that may still replace the object of `record` once it is published (rule 8). */
export function uploadIdsToSettle(checkpoint: Checkpoint, record: Finishable): string[] {
  const own = publishMethod(record) === 'multipart' ? record.uploadId : undefined
  return (checkpoint.unanswered ?? []).filter(uploadId => uploadId !== own)
}

/**
 * Returns the upload ids to abort once the object of `record` exists. HEAD does not show which of several
 * upload ids the object was completed from.
 * @param answered – whether this record's Complete succeeded with a response
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

/** The request that publishes a sealed upload: PutObject for a short one, else Complete. */
export function publishMethod(record: Finishable): Completing['method'] {
  // Freed bytes can only be published by the upload id that has them.
  return isSinglePut(record.plan, record.size) && !hasFreedParts(record) ? 'put' : 'multipart'
}

/** Number of parts of the object; 1 for a single PutObject. */
export function partCount(record: Finishable): number {
  return publishMethod(record) === 'put' ? 1 : record.crcs.length
}

/** Returns all parts of a sealed upload. */
export function sealedParts(record: Finishable): CutPart[] {
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

/**
 * Returns whether sealed bytes are older than `maxAge` ms. A time that is as far in the future was written by a wrong
 * clock, so that nobody knows how old the bytes are.
 */
export function isTooOld({ sealedAt }: Pick<Finishable, 'sealedAt'>, maxAge = Infinity): boolean {
  return Math.abs(Date.now() - Date.parse(sealedAt)) > maxAge
}
