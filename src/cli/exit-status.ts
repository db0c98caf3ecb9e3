/** Exit statuses and the failures they stand for. */
import { SpoolError } from '../errors.js'
import { isArgumentError } from '../util/error-shape.js'
import { errorCode } from '../util/error-code.js'

export const EXIT_SUCCESS = 0
/** Failed, nothing to resume. */
export const EXIT_FAILURE = 1
/** Wrong usage, or no credentials, detected before any byte is read. */
export const EXIT_USAGE = 2
/** EX_TEMPFAIL of sysexits.h: `oss-spool resume` can finish the upload. */
export const EXIT_RESUMABLE = 75

/** Error for wrong usage of the command line. `hint` replaces the reference to the help. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
  readonly code = 'ERR_USAGE'
  readonly hint: string | undefined

  constructor(message: string, options?: ErrorOptions & { readonly hint?: string }) {
    super(message, options)
    this.hint = options?.hint
  }
}

/** Error for a failed command of `run`. `exitStatus` is the status that a shell would report. */
export class CommandFailedError extends Error {
  override readonly name = 'CommandFailedError'
  readonly code = 'ERR_COMMAND_FAILED'
  readonly exitStatus: number

  constructor(message: string, exitStatus: number, options?: ErrorOptions) {
    super(message, options)
    this.exitStatus = exitStatus
  }
}

/** Returns the exit status for a failure. */
export function exitStatusOf(error: unknown): number {
  if (error instanceof SpoolError) {
    if (error.cause instanceof CommandFailedError) return error.cause.exitStatus
    if (error.code === 'ERR_SPOOL_INVALID_KEY') return EXIT_USAGE
    return error.resumable ? EXIT_RESUMABLE : EXIT_FAILURE
  }
  const hasArgumentCode = /^ERR_(INVALID_ARG|OUT_OF_RANGE)/.test(errorCode(error) ?? '')
  if (error instanceof UsageError || (isArgumentError(error) && hasArgumentCode)) return EXIT_USAGE
  return EXIT_FAILURE
}

/**
 * Combines the statuses of several uploads: 75 if any can be resumed, otherwise 1 if any failed. Keeps a
 * single one.
 */
export function combineExitStatuses(statuses: readonly number[]): number {
  if (statuses.length === 1) return statuses[0] ?? EXIT_SUCCESS
  if (statuses.includes(EXIT_RESUMABLE)) return EXIT_RESUMABLE
  return statuses.every(status => status === EXIT_SUCCESS) ? EXIT_SUCCESS : EXIT_FAILURE
}
