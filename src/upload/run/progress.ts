/**
 * Progress of one upload: bytes on disk and on OSS, rate and remaining time. Emits at most ten events per second,
 * and always the last one.
 */
import type { UploadRecord } from '../../disk/checkpoint.js'
import type { ProgressEvent } from '../model/progress-event.js'

const EVENT_INTERVAL_MS = 100
/** The rate is averaged over about this many ms. */
const RATE_WINDOW_MS = 5_000

export class ProgressTracker {
  readonly #emit: (event: ProgressEvent) => void
  #state: Omit<ProgressEvent, 'rate' | 'eta'> = {
    phase: 'spooling',
    spooled: 0,
    uploaded: 0,
    parts: { done: 0 },
  }
  /** Recent samples, oldest first: [time, bytes moved]. */
  #samples: [number, number][] = []
  #lastEmittedAt = -EVENT_INTERVAL_MS
  #timer: NodeJS.Timeout | undefined
  /** Bytes that OSS already had; they do not count towards the rate. */
  #foundBytes = 0
  #ended = false

  constructor(emit: (event: ProgressEvent) => void) {
    this.#emit = emit
  }

  get state(): Omit<ProgressEvent, 'rate' | 'eta'> {
    return this.#state
  }

  /** Acknowledged bytes and parts, as stored in a record. */
  get acknowledged(): Pick<UploadRecord, 'uploaded' | 'acknowledged'> {
    const { uploaded, parts } = this.#state
    return { uploaded, acknowledged: parts.done }
  }

  /** Applies `change`, and emits an event now or when the next one is due. */
  update(change: Partial<Omit<ProgressEvent, 'rate' | 'eta'>>): void {
    const phaseChanged = change.phase !== undefined && change.phase !== this.#state.phase
    this.#state = { ...this.#state, ...change }
    if (this.#ended) return
    const wait = this.#lastEmittedAt + EVENT_INTERVAL_MS - performance.now()
    if (phaseChanged || wait <= 0) this.#emitNow()
    else this.#timer ??= setTimeout(() => this.#emitNow(), wait).unref()
  }

  /** Counts a part that OSS already had, so that no bytes moved. */
  found(bytes: number): void {
    this.#foundBytes += bytes
    this.acknowledge(bytes)
  }

  /** Counts a part that OSS acknowledged. */
  acknowledge(bytes: number): void {
    const { uploaded, parts } = this.#state
    this.update({ uploaded: uploaded + bytes, parts: { ...parts, done: parts.done + 1 } })
  }

  /** Resets the counts of acknowledged parts and bytes: their upload id is gone. */
  restart(): void {
    this.#samples = []
    this.#foundBytes = 0
    this.update({ uploaded: 0, parts: { ...this.#state.parts, done: 0 } })
  }

  /** Emits the pending event, if any. No events follow. */
  end(): void {
    if (this.#timer !== undefined) this.#emitNow()
    this.#ended = true
  }

  #emitNow(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const now = (this.#lastEmittedAt = performance.now())
    const { uploaded, size } = this.#state
    while (this.#samples.length > 1 && this.#samples[0]![0] < now - RATE_WINDOW_MS)
      this.#samples.shift()
    const moved = uploaded - this.#foundBytes
    this.#samples.push([now, moved])
    const [then, before] = this.#samples[0]!
    const rate = now > then ? Math.max(0, ((moved - before) / (now - then)) * 1000) : 0
    const eta = size !== undefined && rate > 0 ? (size - uploaded) / rate : undefined
    this.#emit({ ...this.#state, rate, ...(eta === undefined ? {} : { eta }) })
  }
}
