/** Validates standard input, because uploading nothing by mistake would replace an object. */
import { createReadStream, readFileSync } from 'node:fs'
import { Socket } from 'node:net'
import type { Readable } from 'node:stream'
import { UsageError } from './exit-status.js'
import { statsOf, statsOfFd } from './file-stats.js'
import type { Session } from './session.js'

/**
 * Returns standard input. Logs a notice if it is a terminal.
 * @throws UsageError if it is closed or cannot be read
 */
export function openStdin(session: Session): Readable {
  if (isStdinClosed()) {
    throw new UsageError(
      'Standard input is closed. To upload an empty object, redirect it from /dev/null',
    )
  }
  const { stdin } = session.io
  if (stdin.isTTY) session.logLine('reading from the terminal; press Ctrl-D to finish')
  return stdin === process.stdin ? toByteStream(stdin) : stdin
}

/**
 * Handles the types of input that Node does not support, whose stream would end at once, as if it were empty.
 */
function toByteStream(stdin: Readable): Readable {
  const stats = statsOfFd(0)
  if (stats.isDirectory()) throw new UsageError('Standard input is a directory')
  if (stats.isBlockDevice()) return createReadStream('', { fd: 0, autoClose: false })
  if (stats.isSocket() && !(stdin instanceof Socket)) {
    throw new UsageError('Standard input is a socket that is not a byte stream')
  }
  return stdin
}

/**
 * Returns true if standard input was closed. Node then opens `/dev/null` for reading and writing in its
 * place, while a shell opens it for reading only. The flags are visible on Linux only.
 */
function isStdinClosed(): boolean {
  try {
    if (!statsOfFd(0).isCharacterDevice()) return false
    const openFlags = /^flags:\s*(\d+)/m.exec(readFileSync('/proc/self/fdinfo/0', 'utf8'))?.[1]
    const isDevNull = statsOfFd(0).rdev === statsOf('/dev/null').rdev
    return isDevNull && openFlags !== undefined && (Number.parseInt(openFlags, 8) & 3) === 2
  } catch {
    return false // not Linux: the input reads as empty
  }
}
