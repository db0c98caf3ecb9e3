/** Whether standard input can be meant: an upload of nothing by mistake would replace an object. */
import { createReadStream, fstatSync, readFileSync, statSync } from 'node:fs'
import { Socket } from 'node:net'
import type { Readable } from 'node:stream'
import { UsageError } from './exit-status.js'
import type { Session } from './session.js'

/**
 * Standard input; tells when it is a terminal.
 * @throws UsageError for one that is closed, or that nothing can be read from
 */
export function openStdin(session: Session): Readable {
  if (isStdinClosed()) {
    throw new UsageError('Standard input is closed; for an empty object give it /dev/null')
  }
  const { stdin } = session.io
  if (stdin.isTTY) session.logLine('reading from the terminal; Ctrl-D ends it')
  return stdin === process.stdin ? toByteStream(stdin) : stdin
}

/** Where Node does not know what standard input is, its stream ends at once, as if it were empty. */
function toByteStream(stdin: Readable): Readable {
  const stats = fstatSync(0)
  if (stats.isDirectory()) throw new UsageError('Standard input is a directory')
  if (stats.isBlockDevice()) return createReadStream('', { fd: 0, autoClose: false })
  if (stats.isSocket() && !(stdin instanceof Socket)) {
    throw new UsageError('Standard input is a socket that is no stream of bytes')
  }
  return stdin
}

/**
 * Node puts `/dev/null`, opened for reading and writing, where it finds standard input closed. A
 * shell opens it for reading only, so the two can be told apart where Linux shows the flags.
 */
function isStdinClosed(): boolean {
  try {
    if (!fstatSync(0).isCharacterDevice()) return false
    const openFlags = /^flags:\s*(\d+)/m.exec(readFileSync('/proc/self/fdinfo/0', 'utf8'))?.[1]
    const isDevNull = fstatSync(0).rdev === statSync('/dev/null').rdev
    return isDevNull && openFlags !== undefined && (Number.parseInt(openFlags, 8) & 3) === 2
  } catch {
    return false // no Linux: it reads as empty there
  }
}
