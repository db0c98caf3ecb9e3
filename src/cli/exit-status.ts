/** The exit statuses, and which failure gets which. */
import { SpoolError } from '../errors.js'

export const EXIT_SUCCESS = 0
/** Failed, nothing to resume. */
export const EXIT_FAILURE = 1
/** Wrong usage, or no credentials, before a byte was read. */
export const EXIT_USAGE = 2
/** EX_TEMPFAIL of sysexits.h: `oss-spool resume` will finish it. */
export const EXIT_RESUMABLE = 75

/** A wrong use of the command line. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
  readonly code = 'ERR_USAGE'
}

/** The command of `run` did not succeed; `status` is what a shell would report. */
export class CommandFailedError extends Error {
  override readonly name = 'CommandFailedError'
  readonly code = 'ERR_COMMAND_FAILED'
  readonly exitStatus: number

  constructor(message: string, exitStatus: number, options?: ErrorOptions) {
    super(message, options)
    this.exitStatus = exitStatus
  }
}

export function exitStatusOf(error: unknown): number {
  if (error instanceof SpoolError) {
    if (error.cause instanceof CommandFailedError) return error.cause.exitStatus
    if (error.code === 'ERR_SPOOL_INVALID_KEY') return EXIT_USAGE
    return error.resumable ? EXIT_RESUMABLE : EXIT_FAILURE
  }
  const isTypeOrRangeError = error instanceof TypeError || error instanceof RangeError
  const hasArgumentCode =
    error instanceof Error &&
    'code' in error &&
    /^ERR_(INVALID_ARG|OUT_OF_RANGE)/.test(String(error.code))
  if (error instanceof UsageError || (isTypeOrRangeError && hasArgumentCode)) return EXIT_USAGE
  return EXIT_FAILURE
}

/** Of several uploads: resumable wins, else any failure; that of one is its own. */
export function combineExitStatuses(statuses: readonly number[]): number {
  if (statuses.length === 1) return statuses[0] ?? EXIT_SUCCESS
  if (statuses.includes(EXIT_RESUMABLE)) return EXIT_RESUMABLE
  return statuses.every(status => status === EXIT_SUCCESS) ? EXIT_SUCCESS : EXIT_FAILURE
}
