/** What `split` prints: a result per object, a warning per kind of failure, and its progress. */
import type { UploadResult } from '../upload/run/result.js'
import { errorCode } from '../util/error-code.js'
import { errorMessage, isError } from '../util/error-shape.js'
import { startProgressDisplay, type ProgressDisplay, type ProgressFlags } from './progress.js'
import { reportResult, type ReportFlags } from './report.js'
import type { Session } from './session.js'
import { hintOf } from './spool-error-hint.js'

export class SplitReport {
  readonly #session: Session
  readonly #target: string
  readonly #flags: ReportFlags & ProgressFlags
  readonly #display: ProgressDisplay
  readonly #startedAt = performance.now()
  /** Codes of failures since the last object was stored. Others of the same kind are not repeated. */
  readonly #reportedCodes = new Set<string>()
  #readBytes = 0
  #storedBytes = 0
  #storedObjects = 0

  constructor(session: Session, target: string, flags: ReportFlags & ProgressFlags) {
    this.#session = session
    this.#target = target
    this.#flags = flags
    this.#display = startProgressDisplay(session, target, flags)
  }

  /** Counts bytes of the input. */
  read(bytes: number): void {
    this.#readBytes += bytes
    this.#update()
  }

  /** Reports an object that OSS has stored. */
  result(result: UploadResult): void {
    this.#storedBytes += result.size
    this.#storedObjects++
    this.#reportedCodes.clear()
    this.#update()
    reportResult(this.#session, result, this.#flags)
  }

  /** Reports a failed attempt to publish an object, which stays on the disk. */
  failure(error: unknown): void {
    const code = errorCode(error) ?? ''
    if (this.#reportedCodes.has(code)) return
    this.#reportedCodes.add(code)
    const cause = isError(error) ? error : undefined
    const hint = hintOf(error, this.#session)
    this.#session.logWarning({ message: errorMessage(error), id: '', cause }, hint)
  }

  /** Reports objects that ended early, since lines of too many partitions arrived alternately. */
  earlyEnds(objects: number, maxOpen: number): void {
    const ended = objects === 1 ? '1 object has' : `${objects} objects have`
    const message = `${ended} ended early, because more than ${maxOpen} partitions had lines`
    this.#session.logLine(message, { level: 'warn' })
  }

  stop(): void {
    this.#display.stop()
  }

  #update(): void {
    const seconds = (performance.now() - this.#startedAt) / 1000
    this.#display.update(this.#target, {
      phase: 'spooling',
      spooled: this.#readBytes,
      uploaded: this.#storedBytes,
      sent: this.#storedBytes,
      parts: { done: this.#storedObjects },
      rate: seconds > 0 ? this.#storedBytes / seconds : 0,
    })
  }
}
