/** Formats of the lines on standard error: text for people, or one JSON object per line for programs. */
import { escapeControlChars, toJsonLine } from '../util/control-chars.js'
import { UsageError } from './exit-status.js'

export const LOG_FORMATS = ['text', 'json'] as const
export type LogFormat = (typeof LOG_FORMATS)[number]

export type LogLevel = 'debug' | 'info' | 'warn' | 'error'

/** Details of a line, besides its message. */
export interface LogDetails {
  /** Default: `info`. */
  readonly level?: LogLevel | undefined
  /** Error code, such as `ERR_SPOOL_DENIED`. */
  readonly code?: string | undefined
  /** Id of the upload. */
  readonly id?: string | undefined
  /** Next step. */
  readonly hint?: string | undefined
  /** Stack trace, for `--debug`. */
  readonly stack?: string | undefined
  /** Progress event, for `--progress json`. Only in JSON. */
  readonly progress?: object | undefined
}

/**
 * Formats a line for people: our name, the message, and the hint and the stack on lines of their own. Only an
 * error starts with its code.
 */
export function formatLogText(message: string, { level, code, hint, stack }: LogDetails): string {
  const codeText = level === 'error' && code !== undefined ? `${code}: ` : ''
  const debugText = level === 'debug' ? 'debug: ' : ''
  const lines = [
    `oss-spool: ${codeText}${debugText}${message}`,
    ...(hint === undefined ? [] : [hint]),
    ...(stack?.split('\n') ?? []),
  ]
  return lines.map(line => `${escapeControlChars(line)}\n`).join('')
}

/** Formats a line for programs, as `schema/log.schema.json` describes it. */
export function formatLogJson(message: string, details: LogDetails, time: Date): string {
  const { level = 'info', code, id, hint, stack, progress } = details
  const entry = { time: time.toISOString(), level, code, id, message, hint, stack, progress }
  return `${toJsonLine(entry)}\n`
}

/** @throws UsageError unless `value` is a log format */
export function checkLogFormat(value: string): LogFormat {
  const format = LOG_FORMATS.find(each => each === value)
  if (format !== undefined) return format
  throw new UsageError(`The log format must be one of ${LOG_FORMATS.join(', ')}`)
}
