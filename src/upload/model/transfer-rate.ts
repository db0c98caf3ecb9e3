/**
 * Rate and remaining time of one upload, from samples of its bytes. Pure: the caller has the clock.
 *
 * Bytes that left this machine may wait in buffers on the way, for seconds on a slow network, and all that is known of
 * them is their acknowledgement. So the bytes that have arrived are between two staircases, those confirmed and those
 * sent, and the rate of the network is the slope of a line between both. Its clock is the time with something to
 * send, so a slow source does not lower it.
 */

/** Window of all rates, in ms. */
export const RATE_WINDOW_MS = 5_000
/** Bytes fill the buffers on the way first, faster than any that follow, for about this many ms. */
const FILL_MS = 600
/** Shortest time, in ms, from which a slope is computed. */
const MIN_SPAN_MS = 1_000
/** Factor by which measurements may contradict a constant rate. */
const TOLERANCE = 1.25

/** State of an upload at one time. Counts never decrease, except `unsent`. */
export interface TransferSample {
  /** Time in ms. */
  readonly at: number
  /** Time, in ms, with something to send. */
  readonly busy: number
  /** Bytes read from the source. */
  readonly spooled: number
  /** Bytes that have left this machine, including those that were sent again. */
  readonly sent: number
  /** Bytes of `sent` in requests that have ended. */
  readonly confirmed: number
  /** Bytes of requests in flight that have not left this machine. */
  readonly unsent: number
}

/** Bytes that an upload still has to move. */
export interface RemainingBytes {
  /** Bytes that the source has not delivered yet. */
  readonly toSpool: number
  /** Bytes that have not left this machine, including those in `toSpool`. */
  readonly toSend: number
}

const ZERO: TransferSample = { at: 0, busy: 0, spooled: 0, sent: 0, confirmed: 0, unsent: 0 }

export class TransferRate {
  /** Samples of the last seconds, oldest first. */
  #recent: TransferSample[] = []
  /** Samples of the last seconds with something to send. */
  #busy: TransferSample[] = [ZERO]
  /** The last sample before anything was sent. */
  #start = ZERO
  /** The latest of these, while bytes wait to leave and the buffers are full: `sent` grows as fast as the network. */
  #waiting: TransferSample[] = []
  /** Bytes per ms, once known. */
  #network: number | undefined
  /** Estimate of the bytes that have arrived. */
  #arrived = 0

  add(sample: TransferSample): void {
    this.#recent = appended(this.#recent, sample, 'at')
    if (sample.sent === 0) {
      this.#start = sample // nothing is known of the time to connect
      this.#busy = [sample]
      return
    }
    const [, previous] = ends(this.#busy)
    this.#busy = appended(this.#busy, sample, 'busy')
    if (sample.busy === previous.busy) return
    const isWaiting = sample.unsent > 0 && sample.busy - this.#start.busy > FILL_MS
    this.#waiting = isWaiting ? appended(this.#waiting, sample, 'busy') : []
    const before = this.#network
    this.#network = networkRate(this.#busy, slope(this.#waiting, 'busy', 'sent') ?? before)
    if (this.#network === undefined) return
    const since = before === undefined ? this.#start : previous
    const arrived = this.#arrived + this.#network * (sample.busy - since.busy)
    this.#arrived = clamp(arrived, sample.confirmed, sample.sent)
  }

  /** Bytes confirmed within the window. */
  get confirmed(): number {
    const [first, last] = ends(this.#recent)
    return last.confirmed - first.confirmed
  }

  /** Bytes per second over the window; 0 until it is known. */
  get rate(): number {
    const [first, last] = ends(this.#recent)
    const share = last.at > first.at ? (last.busy - first.busy) / (last.at - first.at) : 1
    return (this.#network ?? 0) * Math.min(1, share) * 1000
  }

  /** Seconds until everything has arrived; `undefined` while a rate that matters is unknown, or nothing moves. */
  eta({ toSpool, toSend }: RemainingBytes): number | undefined {
    const network = this.#network
    const source = toSpool > 0 ? slope(this.#recent, 'at', 'spooled') : Infinity
    if (!network || !source) return undefined
    const [, { sent }] = ends(this.#recent)
    const onTheWay = Math.max(0, sent - this.#arrived)
    // What is on disk goes at the rate of the network, the rest at the slower of both.
    const onDisk = Math.max(0, toSend - toSpool) + onTheWay
    return (onDisk / network + toSpool / Math.min(source, network)) / 1000
  }
}

/**
 * Returns the rate, in bytes per ms, that explains all `samples` and is closest to `likely`. If none does, the speed
 * has changed, and older samples are ignored.
 */
function networkRate(
  samples: readonly TransferSample[],
  likely: number | undefined,
): number | undefined {
  for (let recent = samples; recent.length > 1; recent = recent.slice(recent.length / 2)) {
    const [least, most] = rateBounds(recent)
    if (least > most * TOLERANCE) continue
    if (likely !== undefined) return least > most ? (least + most) / 2 : clamp(likely, least, most)
    return least > 0 ? (least + Math.min(most, least * 2)) / 2 : undefined
  }
  return likely
}

/** Returns the slopes between which a line must be that is above `confirmed` and below `sent` everywhere. */
function rateBounds(samples: readonly TransferSample[]): [least: number, most: number] {
  let [least, most] = [0, Infinity]
  for (const [i, later] of samples.entries()) {
    for (const earlier of samples.slice(0, i)) {
      const elapsed = later.busy - earlier.busy
      least = Math.max(least, (later.confirmed - earlier.sent) / elapsed)
      // The first bytes may have left any time after the last sample without them.
      if (earlier.sent > 0) most = Math.min(most, (later.sent - earlier.confirmed) / elapsed)
    }
  }
  return [least, most]
}

/** Appends `sample` and drops what is older than the window, by `clock`. A sample at the same time is replaced. */
function appended(
  samples: readonly TransferSample[],
  sample: TransferSample,
  clock: 'at' | 'busy',
): TransferSample[] {
  const oldest = sample[clock] - RATE_WINDOW_MS
  return [...samples.filter(({ [clock]: time }) => time >= oldest && time < sample[clock]), sample]
}

/** Returns the slope of the line that fits best, in bytes per ms; `undefined` if the samples cover too little time. */
function slope(
  samples: readonly TransferSample[],
  clock: 'at' | 'busy',
  bytes: 'sent' | 'spooled',
): number | undefined {
  const [first, last] = ends(samples)
  if (last[clock] - first[clock] < MIN_SPAN_MS) return undefined
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

function ends(samples: readonly TransferSample[]): [first: TransferSample, last: TransferSample] {
  return [samples[0] ?? ZERO, samples.at(-1) ?? ZERO]
}

function clamp(value: number, least: number, most: number): number {
  return Math.max(least, Math.min(most, value))
}
