/**
 * Progress on standard error: one bar on a terminal, a line every ten seconds elsewhere, JSON lines
 * for programs, nothing with `--quiet`. Several uploads at a time are shown as their sum.
 */
import type { ProgressEvent } from '../upload/progress-event.js'
import { barLine, describe, type Look } from './bar.js'
import { watchRequests } from './requests.js'
import type { Session } from './session.js'
import { sum, type Sum } from './sum.js'

const LINE_INTERVAL = 10_000
const JSON_INTERVAL = 1_000
const FRAME = 125
/** From the cursor to the end of the line. */
const ERASE = '\u001B[K'

export interface DisplayFlags {
  readonly quiet?: boolean
  readonly progress?: 'auto' | 'json'
}

export interface Display {
  /** The newest of one upload, named by its key or id. */
  show(name: string, event: ProgressEvent): void
  end(): void
}

/**
 * The display that suits this standard error.
 * @param name the object, or what stands for several
 * @param uploads how many there will be
 */
export function display(session: Session, name: string, flags: DisplayFlags, uploads = 1): Display {
  if (flags.quiet) return { show: () => {}, end: () => {} }
  if (flags.progress === 'json') return jsonLines(session)
  const events = new Map<string, ProgressEvent>()
  const retries = { count: 0 }
  const unwatch = watchRequests(({ failed }) => {
    if (failed) retries.count++
  })
  const look = (): Sum => sum([...events.values()], uploads, retries.count)
  const drawn = session.io.stderr.isTTY
    ? bar(session, name, look)
    : lines(session, name, look, () => events.size > 0)
  let ended = false
  return {
    show: (each, event) => void events.set(each, event),
    end: () => {
      if (ended) return
      ended = true
      unwatch()
      drawn.end()
    },
  }
}

/**
 * Redraws one line. It hides no cursor and changes no mode of the terminal, so that nothing has to be
 * put back when this process is killed.
 */
function bar(session: Session, name: string, look: () => Sum): { end(): void } {
  const { stderr, env } = session.io
  const style: Look = {
    coloured: stderr.hasColors(), // heeds NO_COLOR and TERM
    unicode: /utf-?8/i.test(env['LC_ALL'] || env['LC_CTYPE'] || env['LANG'] || ''),
  }
  const clear = (): void => void stderr.write(`\r${ERASE}`)
  const draw = (): void =>
    void stderr.write(`\r${barLine(name, look(), stderr.columns, style)}${ERASE}`)
  const timer = setInterval(draw, FRAME).unref()
  session.drawing = { clear }
  draw()
  return {
    end: () => {
      clearInterval(timer)
      clear()
      session.drawing = undefined
    },
  }
}

function lines(
  session: Session,
  name: string,
  look: () => Sum,
  isUnderWay: () => boolean,
): { end(): void } {
  const timer = setInterval(() => {
    if (isUnderWay()) session.advise(`${name}: ${describe(look())}`)
  }, LINE_INTERVAL).unref()
  return { end: () => clearInterval(timer) }
}

/** Each upload once a second, when its phase changes, and at its end. */
function jsonLines(session: Session): Display {
  const last = new Map<string, { at: number; event: ProgressEvent; told: boolean }>()
  const tell = (name: string, event: ProgressEvent): void =>
    session.advise(JSON.stringify({ progress: { name, ...event } }))
  return {
    show: (name, event) => {
      const before = last.get(name)
      const now = performance.now()
      const due = before === undefined || now - before.at >= JSON_INTERVAL
      const told = due || before.event.phase !== event.phase
      if (told) tell(name, event)
      last.set(name, { at: told ? now : (before?.at ?? now), event, told })
    },
    end: () => {
      for (const [name, { event, told }] of last) if (!told) tell(name, event)
      last.clear()
    },
  }
}
