/**
 * Maps failures of OSS, the disk and the temp file to public errors. Their `ERR_SPOOL_*` codes are assigned only
 * here.
 */
import {
  isCommitted,
  resumableSlot,
  type Checkpoint,
  type Slot,
  type UploadRecord,
} from '../../disk/checkpoint.js'
import { systemErrorCode } from '../../disk/durable-fs.js'
import { LinkedFileChangedError, LinkedFileFailedError } from '../../disk/linked-file.js'
import { TempFileDamagedError } from '../../disk/temp-file.js'
import { UntrustedFileError } from '../../disk/trusted-files.js'
import { SpoolError, type SpoolErrorCode } from '../../errors.js'
import { EMBEDDED_PREFIX, keyTakenHint, type Hint, type KeptPlace } from '../../hint.js'
import {
  errorKind,
  isImmutable,
  OssRequestError,
  wrongTarget,
  type RequestErrorKind,
} from '../../oss/request-error.js'
import { BytesLostError, freedParts, hasFreedParts } from '../model/freed-parts.js'
import { mayBePublished } from '../model/phase.js'

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

/** Requests that ask whether the object was published. */
const QUESTIONS: ReadonlySet<string> = new Set(['HeadObject', 'ListParts'])

/** The disk has no space for these bytes. */
const FULL_DISK: ReadonlySet<string> = new Set(['ENOSPC', 'EDQUOT', 'EFBIG'])

/** State of a failed upload. The message and the fields of the error are derived from it. */
export interface ErrorContext {
  readonly id: string
  readonly bucket: string
  readonly key: string
  /** What `resume` can publish without the source: all bytes, those up to the last commit, or nothing. */
  readonly kept: 'all' | 'committed' | 'nothing'
  /** Bytes up to the last commit. */
  readonly committed?: number
  /** Whether the object is published. `unknown` after a Complete or PutObject without a response (rule 8). */
  readonly published: 'no' | 'unknown' | 'yes'
  /** True if some parts are no longer on this disk. */
  readonly hasFreedParts: boolean
  readonly uploadId?: string | undefined
  /** What a failed request means, put before its description. */
  readonly explanation?: string
  /** Next step for the user, instead of the usual one. */
  readonly hint?: Hint
}

/**
 * Returns the context of an upload.
 * @param checkpoint – its durable checkpoint, or nothing if none is durable
 */
export function errorContext(
  { id, bucket, key }: Pick<ErrorContext, 'id' | 'bucket' | 'key'>,
  checkpoint: Checkpoint | null | undefined,
  slot: Slot = 'upload',
): ErrorContext {
  const record = checkpoint?.[slot]
  return {
    id,
    bucket,
    key,
    kept: keptBytes(record),
    ...(isCommitted(record) ? { committed: record.committed.size } : {}),
    published: publishedState(checkpoint, record),
    hasFreedParts: hasFreedPartsToSend(record),
    uploadId: record?.uploadId,
  }
}

function keptBytes(record: UploadRecord | undefined): ErrorContext['kept'] {
  if (record === undefined) return 'nothing'
  if (record.phase === 'spooling') return record.committed === undefined ? 'nothing' : 'committed'
  return record.prefix === true ? 'committed' : 'all'
}

/** Returns whether `resume` has something to publish. */
export function isResumable({ kept, published }: ErrorContext): boolean {
  return kept !== 'nothing' && published !== 'yes'
}

/** Returns whether bytes that `resume` would publish are only on OSS. */
function hasFreedPartsToSend(record: UploadRecord | undefined): boolean {
  if (isCommitted(record)) return freedParts(record, record.committed.size).length > 0
  return record !== undefined && hasFreedParts(record)
}

function publishedState(
  checkpoint: Checkpoint | null | undefined,
  record: UploadRecord | undefined,
): ErrorContext['published'] {
  if (!checkpoint || record === undefined) return 'no'
  if (record.phase === 'published') return 'yes'
  return mayBePublished(checkpoint, record) ? 'unknown' : 'no'
}

/** Returns the public error for a failure. Errors of other origins are returned unchanged. */
export function toSpoolError(error: unknown, upload: ErrorContext): unknown {
  if (error instanceof SpoolError) return error
  const { id, uploadId, kept } = upload
  const object = `oss://${upload.bucket}/${upload.key}`
  const state = stateText(upload)
  const resumable = kept !== 'nothing'
  const hint = upload.hint ?? resumeHint(upload)
  if (error instanceof BytesLostError) {
    // Bytes before the last commit are lost only if they were freed, too.
    const isPrefixLeft = kept === 'committed' && !upload.hasFreedParts
    const left = isPrefixLeft ? state : PUBLISHED_TEXT[upload.published]
    return new SpoolError('ERR_SPOOL_UPLOAD_FAILED', `${object}: ${error.message}. ${left}`, {
      id,
      uploadId,
      resumable: isPrefixLeft,
      hint: isPrefixLeft ? hint : 'Upload again from the source.',
      cause: error,
    })
  }
  if (error instanceof OssRequestError) {
    const code = CODE_BY_KIND[errorKind(error)]
    if (code === 'ERR_SPOOL_ABORTED') return abortedError(upload, error)
    const what = `${upload.explanation ?? ''}${withoutPeriod(error.describe())}`
    return new SpoolError(code, `${object}: ${what}. ${state}`, {
      id,
      uploadId,
      part: error.part,
      resumable: resumable && code !== 'ERR_SPOOL_OBJECT_EXISTS',
      hint:
        code === 'ERR_SPOOL_OBJECT_EXISTS'
          ? keyTakenHint(id, keptPlace(upload))
          : (moveHint(error, upload) ?? hint ?? deniedHint(error, upload)),
      requestId: error.requestId,
      status: error.status,
      ossCode: error.ossCode,
      cause: error,
    })
  }
  if (error instanceof LinkedFileChangedError) {
    const cause = `the file changed during its upload in place (${error.message})`
    const message = `${object}: ${cause}. ${PUBLISHED_TEXT[upload.published]}`
    const again: Hint = say =>
      `Upload the current file again. To discard this upload, ${say.abort(id)}.`
    return new SpoolError('ERR_SPOOL_SOURCE_FAILED', message, { id, hint: again, cause: error })
  }
  if (error instanceof LinkedFileFailedError) {
    const isFull = FULL_DISK.has(systemErrorCode(error.cause) ?? '')
    const message = `${object}: the file that is read in place failed (${error.message}). ${state}`
    const again: Hint = 'Fix the disk or the permissions of the file, then upload it again.'
    const resume: Hint = say =>
      `Fix the disk or the permissions of the file, which has the bytes, then ${say.resume(id)}.`
    return new SpoolError(isFull ? 'ERR_SPOOL_FULL' : 'ERR_SPOOL_IO', message, {
      id,
      resumable,
      hint: resumable ? resume : again,
      cause: error,
    })
  }
  if (error instanceof TempFileDamagedError) {
    const message = `${object}: ${error.message}. ${PUBLISHED_TEXT[upload.published]}`
    const again = 'Check the disk, then upload again from the source.'
    return new SpoolError('ERR_SPOOL_CORRUPT', message, { id, hint: again, cause: error })
  }
  if (error instanceof UntrustedFileError) {
    const message = `${object}: ${error.message}. It was left unchanged. ${PUBLISHED_TEXT[upload.published]}`
    return new SpoolError('ERR_SPOOL_UNREADABLE', message, { id, cause: error })
  }
  const errno = systemErrorCode(error)
  if (errno === undefined) return error
  const details = { id, resumable, hint, cause: error }
  if (errno === 'EFBIG') {
    const message = `${object}: the temp file reached the largest size that the disk or the process permits (EFBIG). ${state}`
    const again =
      'Raise the limit of file sizes (ulimit -f) or use another disk, then upload again from the source.'
    return new SpoolError('ERR_SPOOL_FULL', message, {
      ...details,
      hint: resumable ? hint : again,
    })
  }
  if (FULL_DISK.has(errno)) {
    const message = `${object}: no space left on the disk of the spool directory (${errno}). ${state}`
    return new SpoolError('ERR_SPOOL_FULL', message, details)
  }
  const message = `${object}: the disk of the spool directory failed (${describeSystemError(error)}). ${state}`
  return new SpoolError('ERR_SPOOL_IO', message, details)
}

/** Returns the error for a failure of the disk that concerns no single upload. Other errors are returned unchanged. */
export function toDiskError(error: unknown): unknown {
  const errno = systemErrorCode(error)
  if (error instanceof SpoolError || errno === undefined) return error
  const what = describeSystemError(error)
  return new SpoolError(
    FULL_DISK.has(errno) ? 'ERR_SPOOL_FULL' : 'ERR_SPOOL_IO',
    `The spool directory could not be used: ${what}`,
    { hint: 'Fix the disk or the permissions, then repeat the call.', cause: error },
  )
}

/** Returns the error of an upload for which the client would have to send its credentials to another endpoint. */
export function endpointError(checkpoint: Checkpoint, endpoint: string, what: string): SpoolError {
  return new SpoolError(
    'ERR_SPOOL_ENDPOINT',
    `${what}, and credentials are sent only to the endpoint of the client, or over HTTPS to aliyuncs.com`,
    {
      id: checkpoint.id,
      resumable: resumableSlot(checkpoint) !== undefined,
      hint: endpoint.startsWith(EMBEDDED_PREFIX)
        ? `Add --local=${endpoint.slice(EMBEDDED_PREFIX.length)} to the command.`
        : say => `Set ${say.option('client.endpoint')} to ${endpoint}.`,
    },
  )
}

/** Returns the error of an upload aborted by its `signal`, or by `destroy()` after the source ended. */
export function abortedError(upload: ErrorContext, cause?: unknown): SpoolError {
  const { id } = upload
  const resumable = isResumable(upload)
  const message = `The upload of oss://${upload.bucket}/${upload.key} was aborted. ${stateText(upload)}`
  const again =
    upload.published === 'yes'
      ? 'Nothing has to be uploaded again.'
      : 'Upload again from the source. Parts that OSS already has are not sent again.'
  const hint: Hint = resumable
    ? (resumeHint(upload) ??
      (say => `All bytes are on disk. To finish the upload, ${say.resume(id)}.`))
    : again
  return new SpoolError('ERR_SPOOL_ABORTED', message, { id, resumable, hint, cause })
}

/** Returns the error of a stream whose source failed, or that was destroyed (then `cause` is `null`). */
export function sourceFailedError(upload: ErrorContext, cause: Error | null): SpoolError {
  const why = cause === null ? 'the stream was destroyed before its end' : cause.message
  const object = `oss://${upload.bucket}/${upload.key}`
  const message = `The source of ${object} failed: ${withoutPeriod(why)}. ${stateText(upload)}`
  return new SpoolError('ERR_SPOOL_SOURCE_FAILED', message, {
    id: upload.id,
    resumable: upload.kept !== 'nothing',
    hint: resumeHint(upload),
    ...(cause === null ? {} : { cause }),
  })
}

/** Says whether the object is published, and which bytes are kept. */
function stateText({ published, kept, hasFreedParts: freed }: ErrorContext): string {
  if (published === 'yes' || kept === 'nothing') return PUBLISHED_TEXT[published]
  const bytes = kept === 'all' ? 'all bytes' : 'the bytes up to the last commit'
  return `${PUBLISHED_TEXT[published]}, ${bytes} are kept${freed ? ', some of them only on OSS' : ''}`
}

/** Returns the next step where the usual one would be wrong. */
function resumeHint({ id, kept, hasFreedParts: freed }: ErrorContext): Hint | undefined {
  if (kept === 'nothing') return undefined
  if (freed) {
    return say => `Fix the cause, then ${say.resume(id)} while its upload id still exists on OSS.`
  }
  if (kept === 'all') return undefined
  return say => `To publish the bytes up to the last commit, ${say.resume(id)}.`
}

const WRONG_TARGET_TEXT = {
  bucket: 'the name of the bucket',
  endpoint: 'the endpoint, its scheme (http:// or https://) or the region',
  key: 'the key',
} as const

/** Returns the next step if the request can never work where it is sent to. All bytes must be here to move it. */
function moveHint(error: OssRequestError, upload: ErrorContext): Hint | undefined {
  const { id, kept, hasFreedParts: freed } = upload
  const wrong = wrongTarget(error)
  if (wrong === undefined || freed || upload.hint !== undefined) return undefined
  if (kept === 'nothing') {
    return `If ${WRONG_TARGET_TEXT[wrong]} is wrong, correct it. Otherwise fix the cause. Then upload again from the source.`
  }
  const bytes = kept === 'all' ? 'All bytes' : 'The bytes up to the last commit'
  const to = wrong === 'endpoint' ? 'endpoint' : 'object'
  return say =>
    `${bytes} are on disk. If ${WRONG_TARGET_TEXT[wrong]} is wrong, ${say.resume(id, { to })}. Otherwise fix the cause, then ${say.resume(id)}.`
}

function keptPlace({ kept, hasFreedParts: freed }: ErrorContext): KeptPlace {
  if (kept === 'nothing') return 'nowhere'
  return freed ? 'partly on OSS' : 'here'
}

/** Returns the next step if OSS refused the request and resuming at once would not help. */
function deniedHint(error: OssRequestError, upload: ErrorContext): Hint | undefined {
  const { id, published, kept } = upload
  if (kept !== 'all' || CODE_BY_KIND[errorKind(error)] !== 'ERR_SPOOL_DENIED') return undefined
  if (isImmutable(error)) {
    return say =>
      `The retention of the bucket or of the object forbids replacing it now. The bytes are kept: once it is over, or an administrator of the bucket allows it, ${say.resume(id)}.`
  }
  // A write-only policy: OSS does not say whether the object was published.
  if (published !== 'unknown' || !QUESTIONS.has(error.operation)) return undefined
  return say =>
    `To find out, permit oss:GetObject and oss:ListParts, then ${say.resume(id)}. To publish it again from this disk, ${say.resume(id, { force: true })}.`
}

function describeSystemError(error: unknown): string {
  // `systemErrorCode` accepts only errors.
  return (error as Error).message
}

/** Messages of OSS often end in a period; the caller adds its own. */
function withoutPeriod(text: string): string {
  return text.replace(/(?<!\.)\.+$/, '')
}
