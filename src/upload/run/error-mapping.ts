/**
 * From what went wrong to what the user is told: the one place where failures of OSS, of the disk
 * and of the temp file get their `ERR_SPOOL_*` code.
 */
import type { UploadRecord } from '../../disk/checkpoint.js'
import { isSystemError } from '../../disk/durable-fs.js'
import { LinkedFileChangedError } from '../../disk/linked-file.js'
import { SpoolError, type SpoolErrorCode } from '../../errors.js'
import { errorKind, OssRequestError, type RequestErrorKind } from '../../oss/request-error.js'
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
  no: 'nothing published',
  unknown: 'it is not known yet whether it is published',
  yes: 'it is published',
}

/** What is known of an upload when it fails: the message and the fields of the error depend on it. */
export interface ErrorContext {
  readonly id: string
  readonly bucket: string
  readonly key: string
  /** The seal is durable: the source is not needed any more. */
  readonly sealed: boolean
  /** Whether the object is published; `unknown` after a Complete or PutObject without a response (rule 8). */
  readonly published: 'no' | 'unknown' | 'yes'
  /** Parts that are no longer on this disk. */
  readonly freed?: FreedRanges | undefined
  readonly uploadId?: string | undefined
  readonly part?: number | undefined
}

/** The context of an upload whose durable record is `record`; `undefined`: none is durable. */
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

/** Any failure as its user sees it. Errors that are none of ours come back unchanged. */
export function toSpoolError(error: unknown, upload: ErrorContext): unknown {
  if (error instanceof SpoolError) return error
  const object = `oss://${upload.bucket}/${upload.key}`
  const { id, uploadId, part, sealed, freed } = upload
  const kept = freed === undefined ? 'all bytes kept' : 'all bytes kept, some of them only on OSS'
  const published = PUBLISHED_TEXT[upload.published]
  const state = sealed && upload.published !== 'yes' ? `${published}, ${kept}` : published
  const retry =
    sealed && freed !== undefined
      ? `"oss-spool resume ${id}" finishes it once the cause is mended, as long as OSS keeps its upload id.`
      : undefined
  if (error instanceof BytesLostError) {
    const message = `${object}: ${error.message}; nothing published`
    const again = 'Run it again from its source.'
    return new SpoolError('ERR_SPOOL_UPLOAD_FAILED', message, {
      id,
      uploadId,
      hint: again,
      cause: error,
    })
  }
  if (error instanceof OssRequestError) {
    const code = CODE_BY_KIND[errorKind(error)]
    if (code === 'ERR_SPOOL_ABORTED') return abortedError(upload, error)
    const where = part === undefined ? '' : `part ${part} of `
    return new SpoolError(code, `${where}${object}: ${error.describe()}; ${state}`, {
      id,
      uploadId,
      part,
      resumable: sealed && code !== 'ERR_SPOOL_OBJECT_EXISTS',
      hint: code === 'ERR_SPOOL_OBJECT_EXISTS' ? undefined : retry,
      requestId: error.requestId,
      status: error.status,
      ossCode: error.ossCode,
      cause: error,
    })
  }
  if (isSystemError(error, 'ENOSPC', 'EDQUOT')) {
    const message = `No space left on the disk of the spool (${error.code}) for ${object}; ${state}`
    return new SpoolError('ERR_SPOOL_FULL', message, {
      id,
      resumable: sealed,
      hint: retry,
      cause: error,
    })
  }
  if (error instanceof LinkedFileChangedError) {
    const message = `The file of ${object} changed while it was uploaded in place (${error.message}); nothing published`
    const hint = 'Upload it again, as it is now.'
    return new SpoolError('ERR_SPOOL_SOURCE_FAILED', message, { id, hint, cause: error })
  }
  return error
}

/** The caller ended it: its signal, or `destroy()` after the end of the source. */
export function abortedError(upload: ErrorContext, cause?: unknown): SpoolError {
  const { id, sealed } = upload
  const message = `The upload of oss://${upload.bucket}/${upload.key} was aborted; ${
    sealed ? 'all bytes are kept' : 'nothing published'
  }`
  const again = 'Run it again from its source: parts that OSS has by now are not sent again.'
  const hint = sealed ? undefined : again
  return new SpoolError('ERR_SPOOL_ABORTED', message, { id, resumable: sealed, hint, cause })
}
