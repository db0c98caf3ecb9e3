/** Hints of the library's errors, worded as commands with the given flags. */
import { LinkedFileFailedError } from '../disk/linked-file.js'
import { SpoolError } from '../errors.js'
import type { RecordedPlace } from '../hint.js'
import { hintForError } from './error-hints.js'
import { commandWording } from './proposed-command.js'

/** Returns command lines to propose, as a session does. */
interface CommandProposer {
  propose(...args: string[]): string
  proposeAt(place: RecordedPlace | undefined, ...args: string[]): string
}

/** Returns the hint of an error of the library, or `undefined` for another one. */
export function hintOf(error: unknown, proposer: CommandProposer): string | undefined {
  return error instanceof SpoolError ? spoolErrorHint(error, proposer) : undefined
}

export function spoolErrorHint(error: SpoolError, proposer: CommandProposer): string {
  const isOfSpool = !(error.cause instanceof LinkedFileFailedError)
  const isDiskFailure = error.code === 'ERR_SPOOL_IO' && !error.resumable && isOfSpool
  return isDiskFailure
    ? hintForError(error.cause ?? { code: 'EIO' }, '', (...args) => proposer.propose(...args))
    : error.hintIn(commandWording((args, at) => proposer.proposeAt(at, ...args)))
}
