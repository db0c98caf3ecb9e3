/**
 * Reports the outcome of one upload. A result goes to standard output, as one line for people or as JSON for
 * programs. An error is a line with its code and a line with the next step, on standard error.
 */
import { SpoolError } from '../errors.js'
import type { UploadResult } from '../upload/run/result.js'
import { exitStatusOf, UsageError } from './exit-status.js'
import { formatBytes, formatDuration } from './units.js'
import { spoolErrorHint } from './spool-error-hint.js'
import type { Session } from './session.js'
import { errorCode } from '../util/error-code.js'
import { isError } from '../util/error-shape.js'
import { describeArgumentError } from './argument-errors.js'
import { hintForError } from './error-hints.js'
import { RunOutcome } from './run-outcome.js'

export interface ReportFlags {
  readonly json?: boolean
  readonly debug?: boolean
}

/**
 * Result of an upload. `unchanged` means that the object already had the same content, so nothing was sent.
 */
export type CliUploadResult = UploadResult & { readonly unchanged?: true }

/** Returns the outcome of the run, which has its module loaded by the first report. */
export function outcomeOf(session: Session): RunOutcome {
  return (session.outcome ??= new RunOutcome())
}

/** Prints the result of an upload. */
export function reportResult(session: Session, result: CliUploadResult, flags: ReportFlags): void {
  outcomeOf(session).addResult(result)
  if (flags.json) session.printJson(result)
  else session.print(formatResult(result))
}

/** Context of a failure, for errors that do not include it. */
export interface ReportContext {
  /** Command whose help explains its usage, such as `oss-spool put`. */
  readonly command: string
  /** URL of the object that was to be created. */
  readonly object?: string
}

/** Reports a failure. Returns its exit status. */
export function reportError(
  session: Session,
  error: unknown,
  flags: ReportFlags,
  context: ReportContext,
): number {
  const { code, message, hint, id } = printErrorJson(session, error, flags, context)
  const stack = flags.debug && isError(error) ? error.stack : undefined
  session.logLine(message, { level: 'error', code, hint, stack, id: id === '' ? undefined : id })
  return exitStatusOf(error)
}

/** Reports, as JSON only, a failure that was already logged as a warning. Returns its exit status. */
export function reportWarnedError(session: Session, error: SpoolError, flags: ReportFlags): number {
  printErrorJson(session, error, flags, { command: 'oss-spool' })
  return exitStatusOf(error)
}

/** Logs a failure. Returns its report, to be part of a line of JSON. */
export function reportFailure(session: Session, error: SpoolError): ErrorReport {
  const report = toErrorReport(session, error, { command: 'oss-spool' })
  const { code, message, hint, id } = report
  session.logLine(message, { level: 'error', code, hint, id })
  return report
}

function printErrorJson(
  session: Session,
  error: unknown,
  flags: ReportFlags,
  context: ReportContext,
): ErrorReport {
  const report = toErrorReport(session, error, context)
  outcomeOf(session).addError(report)
  if (flags.json) session.printJson({ error: report })
  return report
}

function formatResult(result: CliUploadResult): string {
  const { bucket, key, size, parts, crc64, skipped, elapsed, receipt, resumed, sealedAt } = result
  const objectText = `oss://${bucket}/${key}: `
  const crcText = `CRC64 ${crc64}`
  if (receipt || result.recognised)
    return `${objectText}already uploaded, ${formatBytes(size)}, ${crcText}`
  if (result.unchanged) return `${objectText}unchanged, ${formatBytes(size)}, ${crcText}`
  const skippedText = skipped > 0 ? `, ${formatBytes(skipped)} already on OSS` : ''
  const resumedText = resumed ? `, sealed at ${sealedAt}` : ''
  const partsText = parts === 1 ? '1 part' : `${parts} parts`
  return `${objectText}${formatBytes(size)} in ${partsText}, ${crcText}, ${formatDuration(elapsed)}${skippedText}${resumedText}`
}

/** JSON of a failure. */
export interface ErrorReport {
  readonly code: string
  readonly message: string
  readonly hint: string
  readonly resumable: boolean
  readonly id: string
}

function toErrorReport(session: Session, error: unknown, context: ReportContext): ErrorReport {
  const propose = (...args: string[]): string => session.propose(...args)
  const mask = (text: string): string => session.secrets.mask(text)
  if (error instanceof SpoolError) {
    const { code, message, resumable, id } = error
    return {
      code,
      message: mask(message),
      hint: mask(spoolErrorHint(error, session)),
      resumable,
      id: mask(id),
    }
  }
  const code = errorCode(error) ?? 'ERR_UNEXPECTED'
  // Messages of the system start with the code, which is shown before the message.
  const text = describeArgumentError(session, error).replace(`${code}: `, '')
  const isUsageError = code === 'ERR_USAGE' || /^ERR_(INVALID_ARG|OUT_OF_RANGE)/.test(code)
  const message = isUsageError || context.object === undefined ? text : `${context.object}: ${text}`
  const helpHint = `Nothing was read or published. Run "${context.command} --help" for its usage.`
  const usageHint = error instanceof UsageError ? (error.hint ?? helpHint) : helpHint
  return {
    code,
    message: mask(message),
    hint: mask(isUsageError ? usageHint : hintForError(error, context.command, propose)),
    resumable: false,
    id: '',
  }
}
