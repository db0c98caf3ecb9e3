/**
 * What a command says of one upload: its result on standard output, as one line for people or as
 * JSON for programs. An error is a line with its code and a line that says what to do next.
 */
import { SpoolError } from '../errors.js'
import type { UploadResult } from '../upload/run/result.js'
import { exitStatusOf } from './exit-status.js'
import { formatBytes, formatDuration } from './units.js'
import type { Session } from './session.js'
import { escapeControlChars } from './escape-control-chars.js'

export interface ReportFlags {
  readonly json?: boolean
  readonly debug?: boolean
}

/** A result; `unchanged`: the object was there and is the same, so nothing was sent. */
export type CliUploadResult = UploadResult & { readonly unchanged?: true }

export function reportResult(session: Session, result: CliUploadResult, flags: ReportFlags): void {
  session.print(flags.json ? JSON.stringify(result) : escapeControlChars(formatResult(result)))
}

/** What a failure is about, where it does not say so itself. */
export interface ReportContext {
  /** The command whose help says more about wrong usage, such as `oss-spool put`. */
  readonly command: string
  /** The object that was to be made. */
  readonly object?: string
}

/** Says what failed; returns the exit status that goes with it. */
export function reportError(
  session: Session,
  error: unknown,
  flags: ReportFlags,
  context: ReportContext,
): number {
  const { code, message, hint } = printErrorJson(session, error, flags, context)
  session.logLine(`${code}: ${message}`)
  session.log(hint)
  if (flags.debug && error instanceof Error) session.io.stderr.write(`${error.stack}\n`)
  return exitStatusOf(error)
}

/** What standard error was told of already, as a warning; returns the exit status that goes with it. */
export function reportWarnedError(session: Session, error: SpoolError, flags: ReportFlags): number {
  printErrorJson(session, error, flags, { command: 'oss-spool' })
  return exitStatusOf(error)
}

function printErrorJson(
  session: Session,
  error: unknown,
  flags: ReportFlags,
  context: ReportContext,
): ErrorReport {
  const report = toErrorReport(error, context)
  const { code, message, resumable, id } = report
  if (flags.json) session.print(JSON.stringify({ error: { code, message, resumable, id } }))
  return report
}

function formatResult(result: CliUploadResult): string {
  const { bucket, key, size, parts, crc64, skipped, elapsed, receipt, resumed, sealedAt } = result
  const objectText = `oss://${bucket}/${key}: `
  const crcText = `CRC64 ${crc64}`
  if (receipt) return `${objectText}done before, ${formatBytes(size)}, ${crcText}`
  if (result.unchanged) return `${objectText}unchanged, ${formatBytes(size)}, ${crcText}`
  const skippedText = skipped > 0 ? `, ${formatBytes(skipped)} were there already` : ''
  const resumedText = resumed ? `, bytes of ${sealedAt}` : ''
  const partsText = parts === 1 ? '1 part' : `${parts} parts`
  return `${objectText}${formatBytes(size)} in ${partsText}, ${crcText}, ${formatDuration(elapsed)}${skippedText}${resumedText}`
}

interface ErrorReport {
  readonly code: string
  readonly message: string
  readonly resumable: boolean
  readonly id: string
  readonly hint: string
}

function toErrorReport(error: unknown, context: ReportContext): ErrorReport {
  if (error instanceof SpoolError) {
    const { code, message, resumable, id, hint } = error
    return { code, message, resumable, id, hint }
  }
  const text = error instanceof Error ? error.message : String(error)
  const code = error instanceof Error && 'code' in error ? String(error.code) : 'ERR_UNEXPECTED'
  const isUsageError = code === 'ERR_USAGE' || /^ERR_(INVALID_ARG|OUT_OF_RANGE)/.test(code)
  const message = isUsageError || context.object === undefined ? text : `${context.object}: ${text}`
  const usageHint = `Nothing was read or published. "${context.command} --help" shows how it is used.`
  return {
    code,
    message,
    resumable: false,
    id: '',
    hint: isUsageError ? usageHint : hintForCode(code),
  }
}

function hintForCode(code: string): string {
  if (code.startsWith('EADDR')) return 'Another --host or --port may be free.'
  if (/^E(ACCES|PERM|ROFS|NOTDIR|ISDIR|NOENT|EXIST|IO|MFILE|NFILE)$/.test(code)) {
    return 'Nothing was published. "oss-spool doctor" checks the spool directory; --spool DIR uses another one.'
  }
  return 'This should not happen: please report it, with what --debug prints.'
}
