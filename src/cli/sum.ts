/** Several uploads as one: what the bar and the lines show. */
import type { ProgressEvent } from '../upload/progress-event.js'

export interface Sum {
  /** The phase of the only upload, else how many of how many have been begun. */
  readonly stage: string
  readonly spooled: number
  readonly uploaded: number
  /** Bytes of all streams, once all are known. */
  readonly size?: number
  /** Bytes per second. */
  readonly rate: number
  /** Seconds. */
  readonly eta?: number
  readonly retries: number
}

export function sum(events: readonly ProgressEvent[], uploads: number, retries: number): Sum {
  const total = (of: (event: ProgressEvent) => number): number =>
    events.reduce((all, event) => all + of(event), 0)
  const only = uploads === 1 ? (events[0]?.phase ?? 'starting') : undefined
  const known = events.length === uploads && events.every(({ size }) => size !== undefined)
  const size = known ? total(event => event.size ?? 0) : undefined
  const uploaded = total(event => event.uploaded)
  const rate = total(event => (event.phase === 'published' ? 0 : event.rate))
  const eta = size !== undefined && rate > 0 ? (size - uploaded) / rate : undefined
  return {
    stage: only ?? `${events.length} of ${uploads}`,
    spooled: total(event => event.spooled),
    uploaded,
    rate,
    retries,
    ...(size === undefined ? {} : { size }),
    ...(eta === undefined ? {} : { eta }),
  }
}
