/**
 * Rate and remaining time of one upload, from samples of what has left this machine. Pure: the caller has the clock.
 *
 * The network's rate is the slope of the bytes over the time in which there was something to send, so a slow source
 * does not lower it. The first bytes fill buffers on the way and leave faster than any that follow: they count as
 * sent, but not towards the rate, and the remaining time includes the time they need to arrive.
 */

/** Window of all rates, in ms. */
export const RATE_WINDOW_MS = 5_000
/** Buffers on the way are full after this many ms of sending. */
const FILL_MS = 400
/** Shortest time, in ms, from which a rate is computed. */
const MIN_SPAN_MS = 600

/** State of an upload at one time. All counts only grow, except `unconfirmed`. */
export interface TransferSample {
  /** Time in ms. */
  readonly at: number
  /** Time, in ms, in which there was something to send. */
  readonly busy: number
  /** Bytes read from the source. */
  readonly spooled: number
  /** Bytes that have left this machine, including those that were sent again. */
  readonly sent: number
  /** Bytes of these in requests that are not answered yet. */
  readonly unconfirmed: number
}

/** Bytes that an upload still has to move. */
export interface RemainingBytes {
  /** Bytes that the source has not delivered yet. */
  readonly toSpool: number
  /** Bytes that have not left this machine, including those in `toSpool`. */
  readonly toSend: number
}

export class TransferRate {
  /** Samples of the last seconds, oldest first. */
  #recent: TransferSample[] = []
  /** Samples of the last seconds of sending, after the buffers were full. */
  #sending: TransferSample[] = []
  /** Bytes that were in the buffers when the network's rate was known for the first time. */
  #buffered: number | undefined

  add(sample: TransferSample): void {
    this.#recent = appended(this.#recent, sample, 'at')
    const isSending = sample.busy > (this.#sending.at(-1)?.busy ?? FILL_MS)
    if (!isSending) return
    this.#sending = appended(this.#sending, sample, 'busy')
    const rate = this.#networkRate
    const first = this.#sending[0]
    if (rate === undefined || first === undefined) return
    this.#buffered ??= Math.max(0, first.sent - rate * first.busy)
  }

  /** Bytes confirmed within the window. */
  get confirmed(): number {
    const [first, last] = [this.#recent[0], this.#recent.at(-1)]
    if (first === undefined || last === undefined) return 0
    return last.sent - last.unconfirmed - (first.sent - first.unconfirmed)
  }

  /** Bytes per second over the window; until the network's rate is known, those that were confirmed. */
  get rate(): number {
    const [first, last] = [this.#recent[0], this.#recent.at(-1)]
    if (first === undefined || last === undefined || last.at <= first.at) return 0
    const elapsed = last.at - first.at
    const rate = this.#networkRate
    const perMs =
      rate === undefined
        ? this.confirmed / elapsed
        : rate * Math.min(1, (last.busy - first.busy) / elapsed)
    return perMs * 1000
  }

  /** Seconds until everything has arrived; `undefined` while a rate that matters is unknown, or nothing moves. */
  eta({ toSpool, toSend }: RemainingBytes): number | undefined {
    const network = this.#networkRate
    const source = toSpool > 0 ? slope(this.#recent, 'at', 'spooled') : Infinity
    if (!network || !source) return undefined
    const inBuffers = Math.min(this.#buffered ?? 0, this.#recent.at(-1)?.unconfirmed ?? 0)
    // What is on disk goes at the rate of the network, the rest at the slower of both.
    const onDisk = Math.max(0, toSend - toSpool) + inBuffers
    return (onDisk / network + toSpool / Math.min(source, network)) / 1000
  }

  /** Bytes per ms; `undefined` until it is known. */
  get #networkRate(): number | undefined {
    return slope(this.#sending, 'busy', 'sent')
  }
}

/** Appends `sample` and drops what is older than the window, by `clock`. */
function appended(
  samples: readonly TransferSample[],
  sample: TransferSample,
  clock: 'at' | 'busy',
): TransferSample[] {
  const oldest = sample[clock] - RATE_WINDOW_MS
  return [...samples.filter(earlier => earlier[clock] >= oldest), sample]
}

/** Returns the slope of the line that fits best, in bytes per ms; `undefined` if the samples cover too little time. */
function slope(
  samples: readonly TransferSample[],
  clock: 'at' | 'busy',
  bytes: 'sent' | 'spooled',
): number | undefined {
  const [first, last] = [samples[0], samples.at(-1)]
  if (first === undefined || last === undefined || last[clock] - first[clock] < MIN_SPAN_MS) {
    return undefined
  }
  let [x, y, xx, xy] = [0, 0, 0, 0] // relative to the first sample, for precision
  for (const sample of samples) {
    const time = sample[clock] - first[clock]
    const moved = sample[bytes] - first[bytes]
    x += time
    y += moved
    xx += time * time
    xy += time * moved
  }
  const n = samples.length
  return Math.max(0, (n * xy - x * y) / (n * xx - x * x))
}
