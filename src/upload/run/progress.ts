/**
 * Progress of one upload for people and programs: how many bytes are on disk and on OSS, how fast,
 * how long it will take. Events are limited to ten a second; the last one is never lost.
 */
import type { UploadRecord } from '../../disk/checkpoint.js'
import type { ProgressEvent } from '../model/progress-event.js'

const EVENT_INTERVAL_MS = 100
/** The rate follows about this many ms. */
const RATE_WINDOW_MS = 5_000

export class ProgressTracker {
  readonly #emit: (event: ProgressEvent) => void
  #state: Omit<ProgressEvent, 'rate' | 'eta'> = {
    phase: 'spooling',
    spooled: 0,
    uploaded: 0,
    parts: { done: 0 },
  }
  /** Points of the recent past, oldest first: [time, bytes moved]. */
  #samples: [number, number][] = []
  #lastEmittedAt = -EVENT_INTERVAL_MS
  #timer: NodeJS.Timeout | undefined
  /** Bytes that OSS had already: no measure of the line's speed. */
  #foundBytes = 0
  #ended = false

  constructor(emit: (event: ProgressEvent) => void) {
    this.#emit = emit
  }

  get state(): Omit<ProgressEvent, 'rate' | 'eta'> {
    return this.#state
  }

  /** Acknowledged bytes and parts, as a record holds them. */
  get acknowledged(): Pick<UploadRecord, 'uploaded' | 'acknowledged'> {
    const { uploaded, parts } = this.#state
    return { uploaded, acknowledged: parts.done }
  }

  /** Takes over what is new and emits, now or when it is due. */
  update(change: Partial<Omit<ProgressEvent, 'rate' | 'eta'>>): void {
    const turned = change.phase !== undefined && change.phase !== this.#state.phase
    this.#state = { ...this.#state, ...change }
    if (this.#ended) return
    const wait = this.#lastEmittedAt + EVENT_INTERVAL_MS - performance.now()
    if (turned || wait <= 0) this.#emitNow()
    else this.#timer ??= setTimeout(() => this.#emitNow(), wait).unref()
  }

  /** A part was found on OSS: it is there, but nothing moved. */
  found(bytes: number): void {
    this.#foundBytes += bytes
    this.acknowledge(bytes)
  }

  /** A part arrived. */
  acknowledge(bytes: number): void {
    const { uploaded, parts } = this.#state
    this.update({ uploaded: uploaded + bytes, parts: { ...parts, done: parts.done + 1 } })
  }

  /** Parts that were there are no longer: their upload id is gone. */
  restart(): void {
    this.#samples = []
    this.#foundBytes = 0
    this.update({ uploaded: 0, parts: { ...this.#state.parts, done: 0 } })
  }

  /** No event comes after this. */
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
