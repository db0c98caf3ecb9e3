/** The exit statuses, and which failure gets which. */
import { SpoolError } from '../errors.js'

export const EXIT_DONE = 0
/** Failed, nothing to resume. */
export const EXIT_FAILED = 1
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
export class CommandFailed extends Error {
  override readonly name = 'CommandFailed'
  readonly code = 'ERR_COMMAND_FAILED'
  readonly status: number

  constructor(message: string, status: number, options?: ErrorOptions) {
    super(message, options)
    this.status = status
  }
}

export function statusOf(error: unknown): number {
  if (error instanceof SpoolError) {
    if (error.cause instanceof CommandFailed) return error.cause.status
    if (error.code === 'ERR_SPOOL_INVALID_KEY') return EXIT_USAGE
    return error.resumable ? EXIT_RESUMABLE : EXIT_FAILED
  }
  const wrongArgument = error instanceof TypeError || error instanceof RangeError
  const named =
    error instanceof Error &&
    'code' in error &&
    /^ERR_(INVALID_ARG|OUT_OF_RANGE)/.test(String(error.code))
  if (error instanceof UsageError || (wrongArgument && named)) return EXIT_USAGE
  return EXIT_FAILED
}

/** Of several uploads: resumable wins, else any failure; that of one is its own. */
export function worst(statuses: readonly number[]): number {
  if (statuses.length === 1) return statuses[0] ?? EXIT_DONE
  if (statuses.includes(EXIT_RESUMABLE)) return EXIT_RESUMABLE
  return statuses.every(status => status === EXIT_DONE) ? EXIT_DONE : EXIT_FAILED
}
