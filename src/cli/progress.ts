/**
 * Shows progress on standard error: a bar on a terminal, otherwise a line every 10 s, JSON lines for
 * programs, nothing with `--quiet`. Concurrent uploads are shown as their sum.
 */
import type { ProgressEvent } from '../upload/model/progress-event.js'
import type { BarStyle } from './progress-bar.js'
import { formatProgressLine } from './progress-line.js'
import { watchRequests } from './request-watcher.js'
import type { Session } from './session.js'
import { toJsonLine } from '../util/control-chars.js'
import { computeProgressTotal, type ProgressTotal } from './progress-total.js'

const LINE_INTERVAL_MS = 10_000
const JSON_INTERVAL_MS = 1_000
const FRAME_INTERVAL_MS = 125
/** Erases from the cursor to the end of the line. */
const ERASE_TO_LINE_END = '\u001B[K'

export interface ProgressFlags {
  readonly quiet?: boolean
  readonly progress?: 'auto' | 'json'
}

export interface ProgressDisplay {
  /** Records the latest event of an upload. @param name – its key or id */
  update(name: string, event: ProgressEvent): void
  stop(): void
}

/**
 * Starts the display that suits standard error.
 * @param name – the object, or a label for several uploads
 * @param uploadCount – number of uploads
 */
export function startProgressDisplay(
  session: Session,
  name: string,
  flags: ProgressFlags,
  uploadCount = 1,
): ProgressDisplay {
  if (flags.quiet) return { update: () => {}, stop: () => {} }
  if (flags.progress === 'json') return startJsonLines(session)
  const events = new Map<string, ProgressEvent>()
  const retries = { count: 0 }
  const unwatch = watchRequests(({ isFailure }) => {
    if (isFailure && !session.signal.aborted) retries.count++ // an aborted request is not retried
  })
  const computeTotal = (): ProgressTotal =>
    computeProgressTotal([...events.values()], uploadCount, retries.count)
  const hasBar = session.io.stderr.isTTY && session.logFormat === 'text'
  const renderer = hasBar
    ? startBar(session, name, computeTotal)
    : startLines(session, name, computeTotal, () => events.size > 0)
  let isStopped = false
  return {
    update: (uploadName, event) => void events.set(uploadName, event),
    stop: () => {
      if (isStopped) return
      isStopped = true
      unwatch()
      renderer.stop()
    },
  }
}

/**
 * Redraws one line. Neither hides the cursor nor changes a terminal mode, so that nothing needs to be
 * restored if this process is killed.
 */
function startBar(
  session: Session,
  name: string,
  computeTotal: () => ProgressTotal,
): { stop(): void } {
  const { stderr, env } = session.io
  const style: BarStyle = {
    hasColors: stderr.hasColors(), // respects NO_COLOR and TERM
    hasUnicode: /utf-?8/i.test(env['LC_ALL'] || env['LC_CTYPE'] || env['LANG'] || ''),
  }
  const clear = (): void => void stderr.write(`\r${ERASE_TO_LINE_END}`)
  let timer: NodeJS.Timeout | undefined
  let isStopped = false
  const startDrawing = async (): Promise<void> => {
    // Only for a terminal, since `string-width` compiles large regular expressions.
    const { formatProgressBar } = await import('./progress-bar.js')
    if (isStopped) return
    const draw = (): void =>
      void stderr.write(
        `\r${formatProgressBar(name, computeTotal(), stderr.columns, style)}${ERASE_TO_LINE_END}`,
      )
    timer = setInterval(draw, FRAME_INTERVAL_MS).unref()
    draw()
  }
  void startDrawing()
  session.statusLine = { clear }
  return {
    stop: () => {
      isStopped = true
      clearInterval(timer)
      clear()
      session.statusLine = undefined
    },
  }
}

/** Prints a line every 10 s. */
function startLines(
  session: Session,
  name: string,
  computeTotal: () => ProgressTotal,
  hasStarted: () => boolean,
): { stop(): void } {
  const timer = setInterval(() => {
    if (hasStarted()) session.log(`${name}: ${formatProgressLine(computeTotal())}`)
  }, LINE_INTERVAL_MS).unref()
  return { stop: () => clearInterval(timer) }
}

/** Prints each upload once per second, when its phase changes, and at its end. */
function startJsonLines(session: Session): ProgressDisplay {
  const lastByName = new Map<
    string,
    { printedAt: number; event: ProgressEvent; isPrinted: boolean }
  >()
  const printEvent = (name: string, event: ProgressEvent): void =>
    session.logFormat === 'json'
      ? session.logLine(`${name}: ${event.phase}`, { progress: { name, ...event } })
      : session.log(toJsonLine({ progress: { name, ...event } }))
  return {
    update: (name, event) => {
      const previous = lastByName.get(name)
      const now = performance.now()
      const isDue = previous === undefined || now - previous.printedAt >= JSON_INTERVAL_MS
      const shouldPrint = isDue || previous.event.phase !== event.phase
      if (shouldPrint) printEvent(name, event)
      lastByName.set(name, {
        printedAt: shouldPrint ? now : (previous?.printedAt ?? now),
        event,
        isPrinted: shouldPrint,
      })
    },
    stop: () => {
      for (const [name, { event, isPrinted }] of lastByName) if (!isPrinted) printEvent(name, event)
      lastByName.clear()
    },
  }
}
