/** The result of a finished upload, built from the published record and the summary of the run. */
import type { Checkpoint, Published } from '../../disk/checkpoint.js'
import type { ObjectInfo } from '../../oss/bucket.js'

/** Result of a finished upload: the object on OSS, and the work done by this call. */
export interface UploadResult {
  /** Id of the upload. */
  readonly id: string
  /** Bucket of the object. */
  readonly bucket: string
  /** Key of the object. */
  readonly key: string
  /** Size of the object in bytes. */
  readonly size: number
  /** CRC64 of the whole object, confirmed by OSS, as an unsigned decimal. */
  readonly crc64: string
  /** ETag as OSS returned it, with its quotes. */
  readonly etag: string
  /** Number of parts; 1 for a single PutObject. */
  readonly parts: number
  /** Bytes sent by this call. */
  readonly sent: number
  /** Bytes that OSS had already. */
  readonly skipped: number
  /** Whether this call read any byte of the source. */
  readonly sourceRead: boolean
  /** Whether this call finished an upload that an earlier one had sealed or committed. */
  readonly resumed: boolean
  /** Time of the seal, or of the commit that was published; ISO 8601 in UTC. */
  readonly sealedAt: string
  /** Duration of this call in ms. */
  readonly elapsed: number
  /** OSS's id of the request that published the object or confirmed that it is published. */
  readonly requestId: string
  /** Version of the object, in a versioned bucket. */
  readonly versionId?: string
  /** Response of the `callback` server. */
  readonly callback?: unknown
  /** Set if this is the receipt of an earlier upload, so that nothing was read or sent. */
  readonly receipt?: true
  /**
   * Set if OSS had the object already although no record of its upload was left. It was recognised by its metadata, and
   * nothing was read or sent; `sealedAt` is its Last-Modified.
   */
  readonly recognised?: true
}

/** Summary of one run. */
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

/** Returns the receipt of a finished upload as the result of a later call. */
export function receiptOf(
  checkpoint: Checkpoint,
  published: Published,
  elapsed: number,
): UploadResult {
  const run = { sent: 0, skipped: published.size, sourceRead: false, resumed: false, elapsed }
  return { ...resultOf(checkpoint, published, run), receipt: true }
}

/** An object with a CRC64, which every result has. */
export type RecognisedObject = ObjectInfo & Required<Pick<ObjectInfo, 'crc64'>>

/** Returns the result of an upload whose object OSS had already, although its record is lost. */
export function recognisedResult(
  { id, bucket, key }: Pick<UploadResult, 'id' | 'bucket' | 'key'>,
  { size, crc64, etag, lastModified, requestId, versionId }: RecognisedObject,
  elapsed: number,
): UploadResult {
  return {
    id,
    bucket,
    key,
    size,
    crc64: String(crc64),
    etag,
    parts: partsOf(etag),
    sent: 0,
    skipped: size,
    sourceRead: false,
    resumed: false,
    sealedAt: new Date(lastModified).toISOString(),
    elapsed: Math.round(elapsed),
    requestId,
    ...(versionId === undefined ? {} : { versionId }),
    recognised: true,
  }
}

/** The ETag of a multipart object ends with the number of its parts. */
function partsOf(etag: string): number {
  return Number(/-(\d+)"?$/.exec(etag)?.[1] ?? 1)
}
