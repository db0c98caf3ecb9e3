/**
 * What becomes of a job whose upload failed: a pure decision. What always holds: waiting for another
 * process costs no attempt, and what a later attempt can finish is never failed for good.
 */
import { UnrecoverableError } from 'bullmq'
import { SpoolError, type SpoolErrorCode } from '../errors.js'

export type Outcome =
  /** Only `host` can go on: it has the bytes, or a process of it works on them. */
  | { readonly do: 'send home'; readonly host: string }
  /** Another process of this host works on it. */
  | { readonly do: 'wait' }
  /** An attempt is used up; the back-off decides when the next one comes. */
  | { readonly do: 'retry' }
  | { readonly do: 'fail' }

/** Not resumable, but of this machine or this minute: the source is called again. */
const PASSING: ReadonlySet<SpoolErrorCode> = new Set(['ERR_SPOOL_UNREADABLE', 'ERR_SPOOL_FULL'])

/** @param host this one */
export function outcomeOf(error: unknown, host: string): Outcome {
  if (!(error instanceof SpoolError)) {
    const wrongUse = error instanceof TypeError || error instanceof RangeError
    return { do: wrongUse ? 'fail' : 'retry' }
  }
  if (error.code === 'ERR_SPOOL_LOCKED') {
    const elsewhere = error.host !== undefined && error.host !== host
    return elsewhere ? { do: 'send home', host: error.host } : { do: 'wait' }
  }
  const passes = error.resumable || PASSING.has(error.code) || isRetryable(error.cause)
  return { do: passes ? 'retry' : 'fail' }
}

/** A source says of its failure that it will pass by throwing an error with `retryable: true`. */
function isRetryable(cause: unknown): boolean {
  return cause instanceof Error && 'retryable' in cause && cause.retryable === true
}

/** A failure as BullMQ keeps it: only the text and the stack get into Redis, so the code is in it. */
export function failureOf(error: unknown, forGood: boolean): Error {
  const { message } = error instanceof Error ? error : new Error(String(error))
  const code = error instanceof Error && 'code' in error ? String(error.code) : undefined
  const text = code === undefined ? message : `${code}: ${message}`
  const failure = forGood ? new UnrecoverableError(text) : new Error(text)
  return Object.assign(failure, { cause: error }, code === undefined ? {} : { code })
}
