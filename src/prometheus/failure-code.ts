/** The label `code` of failures. Invariant: few values, even if sources throw errors with many codes. */
import type { SpoolErrorCode } from '../errors.js'
import { errorCode } from '../util/error-code.js'
import { errorMessage } from '../util/error-shape.js'

/** Codes with which jobs usually fail. Their counters start at 0, so that `increase()` sees the first failure. */
export const COMMON_FAILURE_CODES = [
  'ERR_SPOOL_UPLOAD_FAILED',
  'ERR_SPOOL_DENIED',
  'ERR_SPOOL_SOURCE_FAILED',
  'ERR_SPOOL_OBJECT_EXISTS',
  'ERR_SPOOL_FULL',
  'ERR_SPOOL_IO',
  'ERR_SPOOL_UNREADABLE',
  'ERR_SPOOL_ABORTED',
] as const satisfies readonly SpoolErrorCode[]

/** Label of all failures without a code of this package or of Node's argument errors. */
export const OTHER_FAILURE = 'other'

/** Returns the label of a failure. An error that passed through Redis has its code in its message only. */
export function failureCode(error: Error): string {
  const code = errorCode(error) ?? /^([A-Z_]+): /.exec(errorMessage(error))?.[1] ?? ''
  return /^ERR_(SPOOL_[A-Z_]{1,40}|INVALID_ARG_(TYPE|VALUE)|OUT_OF_RANGE)$/.test(code)
    ? code
    : OTHER_FAILURE
}
