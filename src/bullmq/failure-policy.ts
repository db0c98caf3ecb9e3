/**
 * What becomes of a job whose upload failed: a pure decision. What always holds: waiting for another
 * process costs no attempt, and what a later attempt can finish is never failed for good.
 */
import { UnrecoverableError } from 'bullmq'
import { SpoolError, type SpoolErrorCode } from '../errors.js'

export type FailureAction =
  /** Only `host` can go on: it has the bytes, or a process of it works on them. */
  | { readonly do: 'send to host'; readonly host: string }
  /** Another process of this host works on it. */
  | { readonly do: 'wait' }
  /** An attempt is used up; the back-off decides when the next one comes. */
  | { readonly do: 'retry' }
  | { readonly do: 'fail' }

/** Not resumable, but of this machine or this minute: the source is called again. */
const RETRYABLE_CODES: ReadonlySet<SpoolErrorCode> = new Set([
  'ERR_SPOOL_UNREADABLE',
  'ERR_SPOOL_FULL',
])

/** @param host this one */
export function chooseFailureAction(error: unknown, host: string): FailureAction {
  if (!(error instanceof SpoolError)) {
    const isUsageError = error instanceof TypeError || error instanceof RangeError
    return { do: isUsageError ? 'fail' : 'retry' }
  }
  if (error.code === 'ERR_SPOOL_LOCKED') {
    const isOnOtherHost = error.host !== undefined && error.host !== host
    return isOnOtherHost ? { do: 'send to host', host: error.host } : { do: 'wait' }
  }
  const canRetry =
    error.resumable || RETRYABLE_CODES.has(error.code) || isMarkedRetryable(error.cause)
  return { do: canRetry ? 'retry' : 'fail' }
}

/** A source says of its failure that it will pass by throwing an error with `retryable: true`. */
function isMarkedRetryable(cause: unknown): boolean {
  return cause instanceof Error && 'retryable' in cause && cause.retryable === true
}

/** A failure as BullMQ keeps it: only the text and the stack get into Redis, so the code is in it. */
export function toJobError(error: unknown, isUnrecoverable: boolean): Error {
  const { message } = error instanceof Error ? error : new Error(String(error))
  const code = error instanceof Error && 'code' in error ? String(error.code) : undefined
  const messageWithCode = code === undefined ? message : `${code}: ${message}`
  const jobError = isUnrecoverable
    ? new UnrecoverableError(messageWithCode)
    : new Error(messageWithCode)
  return Object.assign(jobError, { cause: error }, code === undefined ? {} : { code })
}
