/**
 * Maps failures of OSS, the disk and the temp file to public errors. Their `ERR_SPOOL_*` codes are assigned only
 * here.
 */
import type { UploadRecord } from '../../disk/checkpoint.js'
import { isSystemError } from '../../disk/durable-fs.js'
import { LinkedFileChangedError } from '../../disk/linked-file.js'
import { SpoolError, type SpoolErrorCode } from '../../errors.js'
import {
  errorKind,
  isImmutable,
  OssRequestError,
  type RequestErrorKind,
} from '../../oss/request-error.js'
import { BytesLostError, type FreedRanges } from '../model/freed-parts.js'

const CODE_BY_KIND: Readonly<Record<RequestErrorKind, SpoolErrorCode>> = {
  aborted: 'ERR_SPOOL_ABORTED',
  denied: 'ERR_SPOOL_DENIED',
  exists: 'ERR_SPOOL_OBJECT_EXISTS',
  expired: 'ERR_SPOOL_DENIED',
  refused: 'ERR_SPOOL_UPLOAD_FAILED',
  skewed: 'ERR_SPOOL_UPLOAD_FAILED',
  recovered: 'ERR_SPOOL_UPLOAD_FAILED',
  throttled: 'ERR_SPOOL_UPLOAD_FAILED',
  transient: 'ERR_SPOOL_UPLOAD_FAILED',
  'no-upload': 'ERR_SPOOL_UPLOAD_FAILED',
  'stale-part': 'ERR_SPOOL_UPLOAD_FAILED',
}

const PUBLISHED_TEXT: Readonly<Record<ErrorContext['published'], string>> = {
  no: 'Nothing was published',
  unknown: 'It is not known yet whether it was published',
  yes: 'It is published',
}

/** State of a failed upload. The message and the fields of the error are derived from it. */
export interface ErrorContext {
  readonly id: string
  readonly bucket: string
  readonly key: string
  /** True if the seal is durable, so that the source is no longer needed. */
  readonly sealed: boolean
  /** Whether the object is published. `unknown` after a Complete or PutObject without a response (rule 8). */
  readonly published: 'no' | 'unknown' | 'yes'
  /** Parts that are no longer on this disk. */
  readonly freed?: FreedRanges | undefined
  readonly uploadId?: string | undefined
  readonly part?: number | undefined
}

/**
 * Returns the context of an upload.
 * @param record – its durable record, or `undefined` if none is durable
 */
export function errorContext(
  { id, bucket, key }: Pick<ErrorContext, 'id' | 'bucket' | 'key'>,
  record: UploadRecord | undefined,
): ErrorContext {
  const published = {
    spooling: 'no',
    sealed: 'no',
    completing: 'unknown',
    published: 'yes',
  } as const
  return {
    id,
    bucket,
    key,
    sealed: record !== undefined && record.phase !== 'spooling',
    published: record === undefined ? 'no' : published[record.phase],
    freed: record?.freed,
    uploadId: record?.uploadId,
  }
}

/** Returns the public error for a failure. Errors of other origins are returned unchanged. */
export function toSpoolError(error: unknown, upload: ErrorContext): unknown {
  if (error instanceof SpoolError) return error
  const object = `oss://${upload.bucket}/${upload.key}`
  const { id, uploadId, part, sealed, freed } = upload
  const kept =
    freed === undefined ? 'all bytes are kept' : 'all bytes are kept, some of them only on OSS'
  const published = PUBLISHED_TEXT[upload.published]
  const state = sealed && upload.published !== 'yes' ? `${published}, ${kept}` : published
  const resumeHint =
    sealed && freed !== undefined
      ? `Fix the cause, then run "oss-spool resume ${id}" while its upload id still exists on OSS.`
      : undefined
  if (error instanceof BytesLostError) {
    const message = `${object}: ${error.message}. Nothing was published`
    const hint = 'Upload again from the source.'
    return new SpoolError('ERR_SPOOL_UPLOAD_FAILED', message, { id, uploadId, hint, cause: error })
  }
  if (error instanceof OssRequestError) {
    const code = CODE_BY_KIND[errorKind(error)]
    if (code === 'ERR_SPOOL_ABORTED') return abortedError(upload, error)
    const retentionHint =
      sealed && freed === undefined && isImmutable(error)
        ? `The retention of the bucket or of the object forbids replacing it now. The bytes are kept: once it is over, or an administrator of the bucket allows it, run "oss-spool resume ${id}" or call spool.resume('${id}').`
        : undefined
    const where = part === undefined ? '' : `part ${part} of `
    return new SpoolError(code, `${where}${object}: ${withoutPeriod(error.describe())}. ${state}`, {
      id,
      uploadId,
      part,
      resumable: sealed && code !== 'ERR_SPOOL_OBJECT_EXISTS',
      hint: code === 'ERR_SPOOL_OBJECT_EXISTS' ? undefined : (retentionHint ?? resumeHint),
      requestId: error.requestId,
      status: error.status,
      ossCode: error.ossCode,
      cause: error,
    })
  }
  if (isSystemError(error, 'ENOSPC', 'EDQUOT')) {
    const message = `${object}: no space left on the disk of the spool directory (${error.code}). ${state}`
    return new SpoolError('ERR_SPOOL_FULL', message, {
      id,
      resumable: sealed,
      hint: resumeHint,
      cause: error,
    })
  }
  if (error instanceof LinkedFileChangedError) {
    const cause = `the file changed during its upload in place (${error.message})`
    const message = `${object}: ${cause}. Nothing was published`
    const hint = 'Upload the current file again.'
    return new SpoolError('ERR_SPOOL_SOURCE_FAILED', message, { id, hint, cause: error })
  }
  return error
}

/** Returns the error of an upload aborted by its `signal`, or by `destroy()` after the source ended. */
export function abortedError(upload: ErrorContext, cause?: unknown): SpoolError {
  const { id, sealed } = upload
  const message = `The upload of oss://${upload.bucket}/${upload.key} was aborted. ${
    sealed ? 'All bytes are kept' : 'Nothing was published'
  }`
  const hint = sealed
    ? undefined
    : 'Upload again from the source. Parts that OSS already has are not sent again.'
  return new SpoolError('ERR_SPOOL_ABORTED', message, { id, resumable: sealed, hint, cause })
}

/** Messages of OSS often end in a period; the caller adds its own. */
function withoutPeriod(text: string): string {
  return text.replace(/\.+$/, '')
}
