/**
 * What a command says: its result on standard output, as one line for people or as JSON for
 * programs; everything else on standard error. An error is a line with its code and a line that
 * says what to do next.
 */
import { SpoolError } from '../errors.js'
import type { UploadResult } from '../upload/result.js'
import { statusOf } from './exit-status.js'
import { formatBytes, formatDuration } from './quantities.js'
import type { Io } from './session.js'

export interface ReportFlags {
  readonly json?: boolean
  readonly debug?: boolean
}

export function reportResult(
  io: Pick<Io, 'stdout'>,
  result: UploadResult,
  flags: ReportFlags,
): void {
  io.stdout.write(`${flags.json ? JSON.stringify(result) : describeResult(result)}\n`)
}

/** Says what failed; returns the exit status that goes with it. */
export function reportError(
  io: Pick<Io, 'stdout' | 'stderr'>,
  error: unknown,
  flags: ReportFlags,
): number {
  const { code, message, resumable, id, hint } = describeError(error)
  if (flags.json)
    io.stdout.write(`${JSON.stringify({ error: { code, message, resumable, id } })}\n`)
  io.stderr.write(`oss-spool: ${code}: ${message.replaceAll('\n', ' ')}\n`)
  if (hint !== '') io.stderr.write(`${hint}\n`)
  if (flags.debug && error instanceof Error) io.stderr.write(`${error.stack}\n`)
  return statusOf(error)
}

function describeResult(result: UploadResult): string {
  const { bucket, key, size, parts, crc64, skipped, elapsed, receipt } = result
  const object = `oss://${bucket}/${key}`
  if (receipt) return `${object}: done before, ${formatBytes(size)}, CRC64 ${crc64}`
  const kept = skipped > 0 ? `, ${formatBytes(skipped)} were there already` : ''
  const how = parts === 1 ? '1 part' : `${parts} parts`
  return `${object}: ${formatBytes(size)} in ${how}, CRC64 ${crc64}, ${formatDuration(elapsed)}${kept}`
}

function describeError(error: unknown): {
  code: string
  message: string
  resumable: boolean
  id: string
  hint: string
} {
  if (error instanceof SpoolError) {
    const { code, message, resumable, id, hint } = error
    return { code, message, resumable, id, hint }
  }
  const message = error instanceof Error ? error.message : String(error)
  const code = error instanceof Error && 'code' in error ? String(error.code) : 'ERR_UNEXPECTED'
  const hint =
    code === 'ERR_USAGE' || /^ERR_(INVALID|OUT)/.test(code) ? 'See "oss-spool --help".' : ''
  return { code, message, resumable: false, id: '', hint }
}
