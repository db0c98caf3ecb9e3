/** Sums the progress of several uploads, for the bar and the lines. */
import type { ProgressEvent } from '../upload/model/progress-event.js'

export interface ProgressTotal {
  /** Phase of a single upload, otherwise how many uploads have started, such as `2 of 5`. */
  readonly stage: string
  readonly spooled: number
  /** Bytes on OSS or on the wire. */
  readonly sent: number
  /** Bytes of all streams, once all sizes are known. */
  readonly size?: number
  /** Bytes per second. */
  readonly rate: number
  /** Seconds until done. */
  readonly eta?: number
  readonly retries: number
}

export function computeProgressTotal(
  events: readonly ProgressEvent[],
  uploadCount: number,
  retries: number,
): ProgressTotal {
  const sumOf = (select: (event: ProgressEvent) => number): number =>
    events.reduce((sum, event) => sum + select(event), 0)
  const singlePhase = uploadCount === 1 ? (events[0]?.phase ?? 'starting') : undefined
  const isSizeKnown =
    events.length === uploadCount && events.every(({ size }) => size !== undefined)
  const size = isSizeKnown ? sumOf(event => event.size ?? 0) : undefined
  const running = events.filter(({ phase }) => phase !== 'published')
  const eta = size === undefined ? undefined : remainingSeconds(running)
  return {
    stage: singlePhase ?? `${events.length} of ${uploadCount}`,
    spooled: sumOf(event => event.spooled),
    sent: sumOf(event => event.sent),
    rate: totalRate(running),
    retries,
    ...(size === undefined ? {} : { size }),
    ...(eta === undefined ? {} : { eta }),
  }
}

function totalRate(events: readonly ProgressEvent[]): number {
  return events.reduce((sum, { rate }) => sum + rate, 0)
}

/** Returns the time for the bytes of all uploads at the rate of all, since those that go on share the network. */
function remainingSeconds(running: readonly ProgressEvent[]): number | undefined {
  if (running.length <= 1) return running[0]?.eta
  const rate = totalRate(running)
  if (rate === 0 || running.every(({ eta }) => eta === undefined)) return undefined
  // The bytes of an estimate include those that left this machine and have not arrived.
  const bytes = running.reduce(
    (sum, { eta, rate: own, size = 0, sent }) =>
      sum + (eta === undefined ? size - sent : eta * own),
    0,
  )
  return bytes / rate
}
