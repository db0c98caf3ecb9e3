/**
 * Reports the outcome of one upload. A result goes to standard output, as one line for people or as JSON for
 * programs. An error is a line with its code and a line with the next step, on standard error.
 */
import { SpoolError } from '../errors.js'
import type { UploadResult } from '../upload/run/result.js'
import { exitStatusOf, UsageError } from './exit-status.js'
import { formatBytes, formatDuration } from './units.js'
import { commandWording } from './proposed-command.js'
import type { Session } from './session.js'
import { escapeControlChars } from './escape-control-chars.js'
import { errorCode } from '../util/error-code.js'
import { errorMessage, isError } from '../util/error-shape.js'

export interface ReportFlags {
  readonly json?: boolean
  readonly debug?: boolean
}

/**
 * Result of an upload. `unchanged` means that the object already had the same content, so nothing was sent.
 */
export type CliUploadResult = UploadResult & { readonly unchanged?: true }

/** Prints the result of an upload. */
export function reportResult(session: Session, result: CliUploadResult, flags: ReportFlags): void {
  session.print(flags.json ? JSON.stringify(result) : escapeControlChars(formatResult(result)))
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
  const { code, message, hint } = printErrorJson(session, error, flags, context)
  session.logLine(`${code}: ${message}`)
  session.log(hint)
  if (flags.debug && isError(error)) session.io.stderr.write(`${error.stack}\n`)
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
  session.logLine(`${report.code}: ${report.message}`)
  session.log(report.hint)
  return report
}

function printErrorJson(
  session: Session,
  error: unknown,
  flags: ReportFlags,
  context: ReportContext,
): ErrorReport {
  const report = toErrorReport(session, error, context)
  if (flags.json) session.print(JSON.stringify({ error: report }))
  return report
}

function formatResult(result: CliUploadResult): string {
  const { bucket, key, size, parts, crc64, skipped, elapsed, receipt, resumed, sealedAt } = result
  const objectText = `oss://${bucket}/${key}: `
  const crcText = `CRC64 ${crc64}`
  if (receipt) return `${objectText}already uploaded, ${formatBytes(size)}, ${crcText}`
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
  if (error instanceof SpoolError) {
    const { code, message, resumable, id } = error
    return { code, message, hint: hintOf(session, error), resumable, id }
  }
  const text = errorMessage(error)
  const code = errorCode(error) ?? 'ERR_UNEXPECTED'
  const isUsageError = code === 'ERR_USAGE' || /^ERR_(INVALID_ARG|OUT_OF_RANGE)/.test(code)
  const message = isUsageError || context.object === undefined ? text : `${context.object}: ${text}`
  const helpHint = `Nothing was read or published. Run "${context.command} --help" for its usage.`
  const usageHint = error instanceof UsageError ? (error.hint ?? helpHint) : helpHint
  return {
    code,
    message,
    hint: isUsageError ? usageHint : hintForCode(session, code),
    resumable: false,
    id: '',
  }
}

/** Returns the hint of an error, which proposes commands with the given flags. */
export function hintOf(session: Session, error: SpoolError): string {
  const isDiskFailure = error.code === 'ERR_SPOOL_IO' && !error.resumable
  return isDiskFailure
    ? diskHint(session)
    : error.hintIn(commandWording((args, at) => session.proposeAt(at, ...args)))
}

function diskHint(session: Session): string {
  return `Run "${session.propose('doctor')}" to check the spool directory, or set --spool to another one.`
}

function hintForCode(session: Session, code: string): string {
  if (code.startsWith('EADDR')) return 'Use another --host or --port.'
  if (/^E(ACCES|PERM|ROFS|NOTDIR|ISDIR|NOENT|EXIST|IO|MFILE|NFILE)$/.test(code)) {
    return `Nothing was published. ${diskHint(session)}`
  }
  return 'This is probably a bug. Please report it with the output of --debug.'
}
