/**
 * What a finished upload is to its user: made of the published record and of what this run did.
 */
import type { Checkpoint, Published } from '../../disk/checkpoint.js'

/** A finished upload: the object as OSS has it, and what this call did for it. */
export interface UploadResult {
  /** Name of the upload. */
  readonly id: string
  /** Bucket of the object. */
  readonly bucket: string
  /** Key of the object. */
  readonly key: string
  /** Bytes. */
  readonly size: number
  /** Of the whole object, as OSS confirmed it: an unsigned decimal. */
  readonly crc64: string
  /** As OSS gave it, with its quotes. */
  readonly etag: string
  /** Number of parts; 1 for a single PutObject. */
  readonly parts: number
  /** Bytes sent by this call. */
  readonly sent: number
  /** Bytes that OSS had already. */
  readonly skipped: number
  /** Whether any byte of the source was read by this call. */
  readonly sourceRead: boolean
  /** Whether this call finished what an earlier one had sealed. */
  readonly resumed: boolean
  /** From when the bytes are: ISO 8601, UTC. */
  readonly sealedAt: string
  /** Of this call, in ms. */
  readonly elapsed: number
  /** OSS's id of the request that published it, or that confirmed that it is published. */
  readonly requestId: string
  /** Of the object, in a versioned bucket. */
  readonly versionId?: string
  /** What the callback's server answered. */
  readonly callback?: unknown
  /** This is the receipt of an earlier upload: nothing was read or sent. */
  readonly receipt?: true
}

/** What one run did. */
export interface RunSummary {
  readonly sent: number
  readonly skipped: number
  readonly sourceRead: boolean
  readonly resumed: boolean
  readonly elapsed: number
  readonly callback?: unknown
}

export function resultOf(
  checkpoint: Checkpoint,
  published: Published,
  run: RunSummary,
): UploadResult {
  const { size, crc64, etag, parts, sealedAt, requestId, versionId } = published
  const { sent, skipped, sourceRead, resumed, elapsed, callback } = run
  return {
    id: checkpoint.id,
    bucket: checkpoint.bucket,
    key: checkpoint.key,
    size,
    crc64,
    etag,
    parts,
    sent,
    skipped,
    sourceRead,
    resumed,
    sealedAt,
    elapsed: Math.round(elapsed),
    requestId,
    ...(versionId === undefined ? {} : { versionId }),
    ...(callback === undefined ? {} : { callback }),
  }
}

/** A finished upload's receipt as the result of a later call. */
export function receiptOf(
  checkpoint: Checkpoint,
  published: Published,
  elapsed: number,
): UploadResult {
  const run = { sent: 0, skipped: published.size, sourceRead: false, resumed: false, elapsed }
  return { ...resultOf(checkpoint, published, run), receipt: true }
}
