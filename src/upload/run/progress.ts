/**
 * Progress of one upload: bytes on disk, on the wire and on OSS, rate and remaining time. Emits at most ten events
 * per second, at least five while bytes are being sent, and always the last one.
 */
import type { UploadRecord } from '../../disk/checkpoint.js'
import { BodyMeter, measureBodies } from '../../oss/body-meter.js'
import type { ProgressEvent } from '../model/progress-event.js'
import { RATE_WINDOW_MS, TransferRate } from '../model/transfer-rate.js'

const EVENT_INTERVAL_MS = 100
/** Interval of events while bytes are being sent and nothing else happens. */
const SENDING_INTERVAL_MS = 200

/** Progress without the figures that are computed from its history. */
export type ProgressState = Omit<ProgressEvent, 'sent' | 'rate' | 'eta'>

export interface ProgressListener {
  /** Whether somebody receives the events, so that it is worth measuring. */
  isActive(): boolean
  emit(event: ProgressEvent): void
}

export class ProgressTracker {
  readonly #listener: ProgressListener
  #state: ProgressState = {
    phase: 'spooling',
    spooled: 0,
    uploaded: 0,
    parts: { done: 0 },
  }
  readonly #rate = new TransferRate()
  /** Bodies that are being sent, and their sizes. */
  readonly #inFlight = new Map<BodyMeter, number>()
  /** Number of bodies that are being sent or wait for a retry. */
  #bodies = 0
  /** Bytes of earlier requests. */
  #sentBefore = 0
  /** Time with something to send: the total, and since when there is. */
  #busy = 0
  #busySince = 0
  /** Estimated end, by `performance.now()`. */
  #endsAt: number | undefined
  /** Largest value of `sent` that was emitted. */
  #sent = 0
  #lastEmittedAt = -EVENT_INTERVAL_MS
  #timer: NodeJS.Timeout | undefined
  #tickTimer: NodeJS.Timeout | undefined
  #isMeasuring = false
  #ended = false

  constructor(listener: ProgressListener) {
    this.#listener = listener
  }

  get state(): ProgressState {
    return this.#state
  }

  /** Acknowledged bytes and parts, as stored in a record. */
  get acknowledged(): Pick<UploadRecord, 'uploaded' | 'acknowledged'> {
    const { uploaded, parts } = this.#state
    return { uploaded, acknowledged: parts.done }
  }

  /** Applies `change`, and emits an event now or when the next one is due. */
  update(change: Partial<ProgressState>): void {
    const phaseChanged = change.phase !== undefined && change.phase !== this.#state.phase
    this.#state = { ...this.#state, ...change }
    if (this.#ended || !this.#listener.isActive()) return
    const wait = this.#lastEmittedAt + EVENT_INTERVAL_MS - performance.now()
    if (phaseChanged || wait <= 0) this.#emitNow()
    else this.#timer ??= setTimeout(() => this.#emitNow(), wait).unref()
  }

  /** Runs `send`, which sends a body in one attempt or more. Counts the time, including that between attempts. */
  async trackBody<T>(send: () => Promise<T>): Promise<T> {
    if (this.#bodies++ === 0) this.#busySince = performance.now()
    this.#tickTimer ??= this.#startTicking()
    try {
      return await send()
    } finally {
      if (--this.#bodies === 0) this.#busy += performance.now() - this.#busySince
    }
  }

  /** Runs one attempt to send a body of `size` bytes. Counts the bytes while they leave. */
  async trackAttempt<T>(size: number, send: (meter: BodyMeter) => Promise<T>): Promise<T> {
    const meter = new BodyMeter()
    this.#inFlight.set(meter, size)
    let sent = 0
    try {
      const reply = await send(meter)
      sent = size
      return reply
    } catch (error) {
      sent = meter.sent
      throw error
    } finally {
      this.#sentBefore += sent
      this.#inFlight.delete(meter)
    }
  }

  /** Counts a part that OSS acknowledged, now or in an earlier run. */
  acknowledge(bytes: number): void {
    const { uploaded, parts } = this.#state
    this.update({ uploaded: uploaded + bytes, parts: { ...parts, done: parts.done + 1 } })
  }

  /** Resets the counts of acknowledged parts and bytes: their upload id is gone. */
  restart(): void {
    this.update({ uploaded: 0, parts: { ...this.#state.parts, done: 0 } })
  }

  /** Emits the pending event, if any. No events follow. */
  end(): void {
    if (this.#timer !== undefined) this.#emitNow()
    this.#ended = true
    clearTimeout(this.#tickTimer)
  }

  #startTicking(): NodeJS.Timeout {
    return setTimeout(() => {
      if (this.#listener.isActive() && !this.#isMeasuring) void this.#measure()
      this.update({})
      this.#tickTimer = this.#bodies > 0 ? this.#startTicking() : undefined
    }, SENDING_INTERVAL_MS).unref()
  }

  async #measure(): Promise<void> {
    let accepted = 0
    for (const meter of this.#inFlight.keys()) accepted += meter.accepted
    // At the rate of the last confirmations, less than a second of bytes is in flight: buffers do not matter.
    const isFast = accepted * RATE_WINDOW_MS <= this.#rate.confirmed * 1000
    if (isFast) for (const meter of this.#inFlight.keys()) meter.measure()
    else {
      this.#isMeasuring = true
      await measureBodies(this.#inFlight.keys())
      this.#isMeasuring = false
    }
    if (!this.#ended) this.#addSample()
  }

  /** Samples the bytes right after they were measured: together, older and newer counts contradict each other. */
  #addSample(): void {
    const now = performance.now()
    const { spooled, size } = this.#state
    const { sent, unsent } = this.#countInFlight()
    this.#rate.add({
      at: now,
      busy: this.#busy + (this.#bodies > 0 ? now - this.#busySince : 0),
      spooled,
      sent: this.#sentBefore + sent,
      confirmed: this.#sentBefore,
      unsent,
    })
    const eta =
      size === undefined
        ? undefined
        : this.#rate.eta({ toSpool: Math.max(0, size - spooled), toSend: size - this.#position })
    this.#endsAt = eta === undefined ? undefined : now + eta * 1000
  }

  #countInFlight(): { sent: number; unsent: number } {
    let [sent, unsent] = [0, 0]
    for (const [meter, size] of this.#inFlight) {
      sent += meter.sent
      unsent += size - meter.sent
    }
    return { sent, unsent }
  }

  /** Bytes of the object that OSS has or that have left this machine. */
  get #position(): number {
    return this.#state.uploaded + this.#countInFlight().sent
  }

  #emitNow(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const now = (this.#lastEmittedAt = performance.now())
    const { size = Infinity } = this.#state
    this.#sent = Math.max(this.#sent, Math.min(this.#position, size))
    this.#listener.emit({
      ...this.#state,
      sent: this.#sent,
      rate: this.#rate.rate,
      ...(this.#endsAt === undefined ? {} : { eta: Math.max(0, this.#endsAt - now) / 1000 }),
    })
  }
}
