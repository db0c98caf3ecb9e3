/**
 * Decides how a job continues after its upload failed; a pure function. Invariants: waiting for another process
 * uses up no attempt, and a job that a later attempt can finish never fails permanently.
 */
import { UnrecoverableError } from 'bullmq'
import { SpoolError, type SpoolErrorCode } from '../errors.js'
import { errorMessage, isArgumentError, isError } from '../util/error-shape.js'
import { errorCode } from '../util/error-code.js'

export type FailureAction =
  /** Only `host` can continue: it has the bytes, or one of its processes is working on the upload. */
  | { readonly do: 'send to host'; readonly host: string }
  /** Another process on this host is working on the upload. */
  | { readonly do: 'wait' }
  /** Uses up an attempt; the backoff determines when the next one starts. */
  | { readonly do: 'retry' }
  | { readonly do: 'fail' }

/** Errors that are not resumable but local to this machine or temporary, so the source can be called again. */
const RETRYABLE_CODES: ReadonlySet<SpoolErrorCode> = new Set([
  'ERR_SPOOL_UNREADABLE',
  'ERR_SPOOL_FULL',
  'ERR_SPOOL_IO',
])

/** @param host – name of this host */
export function chooseFailureAction(error: unknown, host: string): FailureAction {
  if (!(error instanceof SpoolError)) {
    return { do: isArgumentError(error) ? 'fail' : 'retry' }
  }
  if (error.code === 'ERR_SPOOL_LOCKED') {
    const isOnOtherHost = error.host !== undefined && error.host !== host
    return isOnOtherHost ? { do: 'send to host', host: error.host } : { do: 'wait' }
  }
  const canRetry =
    error.resumable || RETRYABLE_CODES.has(error.code) || isMarkedRetryable(error.cause)
  return { do: canRetry ? 'retry' : 'fail' }
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
