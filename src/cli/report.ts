/**
 * What a command says of one upload: its result on standard output, as one line for people or as
 * JSON for programs. An error is a line with its code and a line that says what to do next.
 */
import { SpoolError } from '../errors.js'
import type { UploadResult } from '../upload/result.js'
import { statusOf } from './exit-status.js'
import { formatBytes, formatDuration } from './quantities.js'
import type { Session } from './session.js'
import { printable } from './text.js'

export interface ReportFlags {
  readonly json?: boolean
  readonly debug?: boolean
}

/** A result; `unchanged`: the object was there and is the same, so nothing was sent. */
export type Result = UploadResult & { readonly unchanged?: true }

export function reportResult(session: Session, result: Result, flags: ReportFlags): void {
  session.print(flags.json ? JSON.stringify(result) : printable(describeResult(result)))
}

/** What a failure is about, where it does not say so itself. */
export interface About {
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
  about: About,
): number {
  const { code, message, hint } = printError(session, error, flags, about)
  session.say(`${code}: ${message}`)
  session.advise(hint)
  if (flags.debug && error instanceof Error) session.io.stderr.write(`${error.stack}\n`)
  return statusOf(error)
}

/** What standard error was told of already, as a warning; returns the exit status that goes with it. */
export function reportWarned(session: Session, error: SpoolError, flags: ReportFlags): number {
  printError(session, error, flags, { command: 'oss-spool' })
  return statusOf(error)
}

function printError(session: Session, error: unknown, flags: ReportFlags, about: About): Described {
  const described = describeError(error, about)
  const { code, message, resumable, id } = described
  if (flags.json) session.print(JSON.stringify({ error: { code, message, resumable, id } }))
  return described
}

function describeResult(result: Result): string {
  const { bucket, key, size, parts, crc64, skipped, elapsed, receipt, resumed, sealedAt } = result
  const what = `oss://${bucket}/${key}: `
  const sum = `CRC64 ${crc64}`
  if (receipt) return `${what}done before, ${formatBytes(size)}, ${sum}`
  if (result.unchanged) return `${what}unchanged, ${formatBytes(size)}, ${sum}`
  const kept = skipped > 0 ? `, ${formatBytes(skipped)} were there already` : ''
  const from = resumed ? `, bytes of ${sealedAt}` : ''
  const how = parts === 1 ? '1 part' : `${parts} parts`
  return `${what}${formatBytes(size)} in ${how}, ${sum}, ${formatDuration(elapsed)}${kept}${from}`
}

interface Described {
  readonly code: string
  readonly message: string
  readonly resumable: boolean
  readonly id: string
  readonly hint: string
}

function describeError(error: unknown, about: About): Described {
  if (error instanceof SpoolError) {
    const { code, message, resumable, id, hint } = error
    return { code, message, resumable, id, hint }
  }
  const text = error instanceof Error ? error.message : String(error)
  const code = error instanceof Error && 'code' in error ? String(error.code) : 'ERR_UNEXPECTED'
  const isUsage = code === 'ERR_USAGE' || /^ERR_(INVALID_ARG|OUT_OF_RANGE)/.test(code)
  const message = isUsage || about.object === undefined ? text : `${about.object}: ${text}`
  const usage = `Nothing was read or published. "${about.command} --help" shows how it is used.`
  return { code, message, resumable: false, id: '', hint: isUsage ? usage : hintFor(code) }
}

function hintFor(code: string): string {
  if (code.startsWith('EADDR')) return 'Another --host or --port may be free.'
  if (/^E(ACCES|PERM|ROFS|NOTDIR|ISDIR|NOENT|EXIST|IO|MFILE|NFILE)$/.test(code)) {
    return 'Nothing was published. "oss-spool doctor" checks the spool directory; --spool DIR uses another one.'
  }
  return 'This should not happen: please report it, with what --debug prints.'
}
