/** The status of an upload, as listed by `uploads()` and `ls`, derived from its checkpoint. */
import {
  isCommitted,
  isFinishable,
  resumableSlot,
  type Checkpoint,
  type ObjectAddress,
  type UploadRecord,
} from '../../disk/checkpoint.js'
import type { Owner } from '../../disk/lock.js'

/** Status of an unfinished upload, or a receipt if receipts were requested. */
export interface UploadStatus {
  /** Id of the upload. */
  readonly id: string
  /** OSS endpoint; `local:DIR` for the embedded OSS of the command line. */
  readonly endpoint: string
  /** Region, such as `oss-cn-hangzhou`. */
  readonly region: string
  /** Bucket of the object. */
  readonly bucket: string
  /** Key of the object. */
  readonly key: string
  /** Phase of the upload; `receipt` only if receipts were requested. */
  readonly phase: 'spooling' | 'sealed' | 'completing' | 'receipt'
  /** Bytes read from the source. With `maxSpoolBytes`, some may be only on OSS. */
  readonly spooled: number
  /**
   * Whether `resume` can finish it without its source: it is sealed or committed, and if its file is read in place,
   * that is unchanged.
   */
  readonly resumable: boolean
  /** Bytes up to the last commit, which `resume` publishes unless the stream is sealed as a whole. */
  readonly committed?: number
  /** Time of the last commit, unless the whole stream is sealed: ISO 8601, UTC. */
  readonly committedAt?: string
  /** Time of the seal: ISO 8601, UTC. */
  readonly sealedAt?: string
  /** Bytes of the object, once sealed. */
  readonly size?: number
  /** Bytes in acknowledged parts. */
  readonly uploaded: number
  /** Number of acknowledged parts. */
  readonly parts: number
  /** Upload id on OSS, once there is one. */
  readonly uploadId?: string
  /** Start of the upload: ISO 8601, UTC. */
  readonly createdAt: string
  /** Last write of its record: ISO 8601, UTC. */
  readonly updatedAt: string
  /** The process that holds its lock, if any. */
  readonly owner?: {
    /** Process id. */
    readonly pid: number
    /** Name of its host. */
    readonly host: string
  }
  /** Host whose disk has the bytes, if records are shared. */
  readonly host?: string
  /** Places from which it was moved and that are not settled yet; absent if it was never moved. */
  readonly movedFrom?: readonly {
    /** OSS endpoint. */
    readonly endpoint: string
    /** Bucket of the object. */
    readonly bucket: string
    /** Key of the object. */
    readonly key: string
  }[]
  /** Error that ended the last run. */
  readonly error?: {
    /** Error code, such as `ERR_SPOOL_DENIED`. */
    readonly code: string
    /** Error message, one line. */
    readonly message: string
    /** Time of the error: ISO 8601, UTC. */
    readonly at: string
  }
}

/**
 * Returns the status of an upload, or `undefined` if it is published and only needs cleaning up. While a
 * successor of a sealed upload runs, its status is returned; if the successor died without seal or commit, that
 * of the sealed upload, which can still be finished.
 */
export function statusOf(
  checkpoint: Checkpoint,
  owner: Owner | undefined,
): UploadStatus | undefined {
  const { id, endpoint, region, bucket, key, host, upload, previous } = checkpoint
  const isDead = upload.phase === 'spooling' && owner === undefined && !isCommitted(upload)
  const record = isDead && isFinishable(previous) ? previous : upload
  if (record.phase === 'published' && !record.once) return undefined
  const { phase, spooled, uploaded, acknowledged, createdAt, updatedAt, uploadId, error } = record
  return {
    id,
    endpoint,
    region,
    bucket,
    key,
    phase: phase === 'published' ? 'receipt' : phase,
    spooled,
    uploaded,
    parts: acknowledged,
    createdAt,
    updatedAt,
    resumable: resumableSlot(checkpoint) !== undefined,
    ...commitOf(record),
    ...('sealedAt' in record ? { sealedAt: record.sealedAt } : {}),
    ...('size' in record ? { size: record.size } : {}),
    ...(uploadId === undefined ? {} : { uploadId }),
    ...(owner === undefined ? {} : { owner }),
    ...(host === undefined ? {} : { host }),
    ...(checkpoint.movedFrom === undefined
      ? {}
      : { movedFrom: checkpoint.movedFrom.map(addressOf) }),
    ...(error === undefined ? {} : { error }),
  }
}

function addressOf({ endpoint, bucket, key }: ObjectAddress): ObjectAddress {
  return { endpoint, bucket, key }
}

function commitOf(record: UploadRecord): { committed?: number; committedAt?: string } {
  if (isCommitted(record)) {
    const { size: committed, at: committedAt } = record.committed
    return { committed, committedAt }
  }
  // Sealed at its last commit, and dated by it.
  const isPrefix = 'prefix' in record && record.prefix
  return isPrefix ? { committed: record.size, committedAt: record.sealedAt } : {}
}
