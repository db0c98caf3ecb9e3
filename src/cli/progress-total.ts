/** Sums the progress of several uploads, for the bar and the lines. */
import type { ProgressEvent } from '../upload/model/progress-event.js'

export interface ProgressTotal {
  /** Phase of a single upload, otherwise how many uploads have started, such as `2 of 5`. */
  readonly stage: string
  readonly spooled: number
  readonly uploaded: number
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
  const uploaded = sumOf(event => event.uploaded)
  const rate = sumOf(event => (event.phase === 'published' ? 0 : event.rate))
  const eta = size !== undefined && rate > 0 ? (size - uploaded) / rate : undefined
  return {
    stage: singlePhase ?? `${events.length} of ${uploadCount}`,
    spooled: sumOf(event => event.spooled),
    uploaded,
    rate,
    retries,
    ...(size === undefined ? {} : { size }),
    ...(eta === undefined ? {} : { eta }),
  }
}
