/**
 * Decides how a job continues after its upload failed; a pure function. Invariants: waiting for another process
 * or for another worker uses up no attempt, and a job that a later attempt can finish never fails permanently.
 */
import { UnrecoverableError } from 'bullmq'
import { SpoolError, type SpoolErrorCode } from '../errors.js'
import { errorMessage, isArgumentError, isError } from '../util/error-shape.js'
import { UnsupportedJobError } from './unsupported-job.js'
import { errorCode } from '../util/error-code.js'

export type FailureAction =
  /** Only `host` can continue: it has the bytes, or one of its processes is working on the upload. */
  | { readonly do: 'send to host'; readonly host: string }
  /** Another process on this host is working on the upload. */
  | { readonly do: 'wait' }
  /** This worker cannot run the job, but another one may. The job returns to the queue some time later. */
  | { readonly do: 'hand back' }
  /** Uses up an attempt; the backoff determines when the next one starts. */
  | { readonly do: 'retry' }
  | { readonly do: 'fail' }

/**
 * Errors after which another attempt can succeed even if they are not resumable: they are temporary or local to this
 * machine, or bytes were lost, which the source has.
 */
const RETRYABLE_CODES: ReadonlySet<SpoolErrorCode> = new Set([
  'ERR_SPOOL_UNREADABLE',
  'ERR_SPOOL_FULL',
  'ERR_SPOOL_IO',
  'ERR_SPOOL_NO_LOCKS',
  'ERR_SPOOL_CORRUPT',
  'ERR_SPOOL_UPLOAD_FAILED',
  'ERR_SPOOL_VERIFY',
  'ERR_SPOOL_DENIED',
])

/**
 * Number of starts without an attempt after which a job whose source nobody has uses up attempts, so that it fails in
 * the end instead of waiting forever. With one start each 30 s, a rolling deployment has 15 minutes.
 */
const MAX_STARTS_WITHOUT_SOURCE = 30

/**
 * @param host – name of this host
 * @param starts – how often the job was started without using up an attempt
 */
export function chooseFailureAction(error: unknown, host: string, starts = 0): FailureAction {
  if (error instanceof UnsupportedJobError) {
    const isExpected = error.lacks === 'version' || starts <= MAX_STARTS_WITHOUT_SOURCE
    return { do: isExpected ? 'hand back' : 'retry' }
  }
  if (!(error instanceof SpoolError)) {
    return { do: isArgumentError(error) ? 'fail' : 'retry' }
  }
  if (error.code === 'ERR_SPOOL_LOCKED') {
    const isOnOtherHost = error.host !== undefined && error.host !== host
    return isOnOtherHost ? { do: 'send to host', host: error.host } : { do: 'wait' }
  }
  if (isLaterFormat(error.cause)) return { do: 'hand back' }
  const canRetry =
    error.resumable || RETRYABLE_CODES.has(error.code) || isMarkedRetryable(error.cause)
  return { do: canRetry ? 'retry' : 'fail' }
}

/** Only the version that wrote the record, or a later one, can read it. */
function isLaterFormat(cause: unknown): boolean {
  return isError(cause) && cause.name === 'LaterFormatError'
}

/** A source marks a failure as temporary by throwing an error with `retryable: true`. */
function isMarkedRetryable(cause: unknown): boolean {
  return isError(cause) && 'retryable' in cause && cause.retryable === true
}

/** Returns the error for BullMQ. Redis stores only its message and stack, so the message includes the code. */
export function toJobError(error: unknown, isUnrecoverable: boolean): Error {
  const message = errorMessage(error)
  const code = errorCode(error)
  const messageWithCode = code === undefined ? message : `${code}: ${message}`
  const jobError = isUnrecoverable
    ? new UnrecoverableError(messageWithCode)
    : new Error(messageWithCode)
  return Object.assign(jobError, { cause: error }, code === undefined ? {} : { code })
}
