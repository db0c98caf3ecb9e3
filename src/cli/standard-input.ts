/** Whether standard input can be meant: an upload of nothing by mistake would replace an object. */
import { fstatSync, readFileSync, statSync } from 'node:fs'
import { UsageError } from './exit-status.js'
import type { Session } from './session.js'

/** @throws UsageError for one that is closed; tells when it is a terminal */
export function checkInput(session: Session): void {
  if (isClosed()) {
    throw new UsageError('Standard input is closed; for an empty object give it /dev/null')
  }
  if (session.io.stdin.isTTY) session.say('reading from the terminal; Ctrl-D ends it')
}

/**
 * Node puts `/dev/null`, opened for reading and writing, where it finds standard input closed. A
 * shell opens it for reading only, so the two can be told apart where Linux shows the flags.
 */
function isClosed(): boolean {
  try {
    if (!fstatSync(0).isCharacterDevice()) return false
    const flags = /^flags:\s*(\d+)/m.exec(readFileSync('/proc/self/fdinfo/0', 'utf8'))?.[1]
    const isNull = fstatSync(0).rdev === statSync('/dev/null').rdev
    return isNull && flags !== undefined && (Number.parseInt(flags, 8) & 3) === 2
  } catch {
    return false // no Linux: it reads as empty there
  }
}
