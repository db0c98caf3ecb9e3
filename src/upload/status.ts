/**
 * What `uploads()` and `ls` say of an upload: its checkpoint as people see it.
 */
import type { Checkpoint } from '../disk/checkpoint.js'
import type { Owner } from '../disk/lock.js'

export interface UploadStatus {
  readonly id: string
  readonly endpoint: string
  readonly region: string
  readonly bucket: string
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
  readonly uploadId?: string
  /** ISO 8601, UTC. */
  readonly createdAt: string
  readonly updatedAt: string
  /** Who works on it now. */
  readonly owner?: Owner
  /** Whose disk has its bytes, where records are shared. */
  readonly host?: string
  /** Why the last run ended. */
  readonly error?: { readonly code: string; readonly message: string; readonly at: string }
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
  const finishable = previous !== undefined && previous.phase !== 'published'
  const record = dead && finishable ? previous : upload
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
