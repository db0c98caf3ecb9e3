/**
 * What `uploads()` and `ls` say of an upload: its checkpoint as people see it.
 */
import { isFinishable, type Checkpoint } from '../../disk/checkpoint.js'
import type { Owner } from '../../disk/lock.js'

/** An upload that is not done yet (or, when asked for, the receipt of one that is). */
export interface UploadStatus {
  /** Name of the upload. */
  readonly id: string
  /** Where it goes; `local:DIR` for the embedded OSS of the command line. */
  readonly endpoint: string
  /** Such as `oss-cn-hangzhou`. */
  readonly region: string
  /** Bucket of the object. */
  readonly bucket: string
  /** Key of the object. */
  readonly key: string
  /** `receipt` only when receipts were asked for. */
  readonly phase: 'spooling' | 'sealed' | 'completing' | 'receipt'
  /** Bytes taken from the source; of a bounded spool, some are only on OSS. */
  readonly spooled: number
  /** Bytes of the whole stream, once sealed. */
  readonly size?: number
  /** Bytes in acknowledged parts. */
  readonly uploaded: number
  /** Number of acknowledged parts. */
  readonly parts: number
  /** On OSS, once there is one. */
  readonly uploadId?: string
  /** When it was begun: ISO 8601, UTC. */
  readonly createdAt: string
  /** When it was last written down: ISO 8601, UTC. */
  readonly updatedAt: string
  /** Who works on it now. */
  readonly owner?: {
    /** Process id. */
    readonly pid: number
    /** Name of its machine. */
    readonly host: string
  }
  /** Whose disk has its bytes, where records are shared. */
  readonly host?: string
  /** Why the last run ended. */
  readonly error?: {
    /** Such as `ERR_SPOOL_DENIED`. */
    readonly code: string
    /** One line for people. */
    readonly message: string
    /** When: ISO 8601, UTC. */
    readonly at: string
  }
}

/**
 * `undefined` for what is published and only waits to be cleaned up. A sealed upload whose successor
 * died is what there is to finish, so it is what is shown; while the successor lives, that is.
 */
export function statusOf(
  checkpoint: Checkpoint,
  owner: Owner | undefined,
): UploadStatus | undefined {
  const { id, endpoint, region, bucket, key, host, upload, previous } = checkpoint
  const dead = upload.phase === 'spooling' && owner === undefined
  const record = dead && isFinishable(previous) ? previous : upload
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
    ...('size' in record ? { size: record.size } : {}),
    ...(uploadId === undefined ? {} : { uploadId }),
    ...(owner === undefined ? {} : { owner }),
    ...(host === undefined ? {} : { host }),
    ...(error === undefined ? {} : { error }),
  }
}
