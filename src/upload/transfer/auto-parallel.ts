/**
 * Parts in flight of `parallel: 'auto'`: hill climbing on throughput. A trial changes the limit for one round of parts and
 * is kept if the throughput justifies it; otherwise the limit before it returns and rests. Without a clock: times
 * are arguments.
 */
import { MIN_AUTO_PARALLEL } from '../model/parallel.js'

/** Most parts in flight, as many as a `Spool` has requests for all uploads. */
const MAX_AUTO_PARALLEL = 32

/** Factor by which more parts in flight must raise the throughput, and fewer may lower it. */
const MIN_GAIN = 1.05
/** Rounds between trials. A trial of fewer parts costs throughput, so most rounds must be none. */
const REST_ROUNDS = 8
/** Factors of the limit: doubled from the start up to the first failure, and changed by small steps afterwards. */
const START_FACTOR = 2
const UP_FACTOR = 1.25
const DOWN_FACTOR = 0.8

/** State of the search, between two rounds. */
interface Search {
  /** Parts that may be in flight. */
  readonly limit: number
  /** Throughput at `limit` in bytes/ms; 0 if unknown. */
  readonly rate: number
  /** The limit before the current trial, and its throughput. */
  readonly before?: { readonly limit: number; readonly rate: number }
  /** Rounds until the next trial. */
  readonly rest: number
  /** Change of the limit by the current or next trial. */
  readonly factor: number
}

/** The search when an upload starts. */
const START: Search = {
  limit: MIN_AUTO_PARALLEL,
  rate: 0,
  rest: 0,
  factor: START_FACTOR,
}

/**
 * Returns the search after a round at its limit.
 * @param rate – throughput of the round in bytes/ms
 */
function afterRound(search: Search, rate: number): Search {
  const { limit, before, rest, factor } = search
  if (before === undefined) {
    const mean = search.rate === 0 ? rate : (search.rate + rate) / 2
    return rest > 0
      ? { limit, rate: mean, rest: rest - 1, factor }
      : startTrial(limit, mean, factor)
  }
  const [more, less] = limit > before.limit ? [rate, before.rate] : [before.rate, rate]
  const isWorthMore = more > less * MIN_GAIN
  if (isWorthMore === limit > before.limit) return startTrial(limit, rate, factor)
  return startRest(before.limit, before.rate, factor)
}

/** Returns the search after OSS throttled a request, or the network broke it. */
function afterFailure({ limit }: Search): Search {
  return startRest(scaled(limit, DOWN_FACTOR), 0, DOWN_FACTOR)
}

/** Starts a trial, if the bounds allow one. */
function startTrial(limit: number, rate: number, factor: number): Search {
  const next = scaled(limit, factor)
  if (next === limit) return startRest(limit, rate, factor)
  return { limit: next, rate: 0, before: { limit, rate }, rest: 0, factor }
}

function scaled(limit: number, factor: number): number {
  const wanted = factor > 1 ? Math.ceil(limit * factor) : Math.floor(limit * factor)
  return Math.min(MAX_AUTO_PARALLEL, Math.max(MIN_AUTO_PARALLEL, wanted))
}

/** Rests at `limit`; the next trial goes the other way. */
function startRest(limit: number, rate: number, factor: number): Search {
  const opposite = factor > 1 ? DOWN_FACTOR : UP_FACTOR
  return { limit, rate, rest: REST_ROUNDS, factor: opposite }
}

/** Measures rounds of parts, and limits how many are in flight. */
export class AutoParallel {
  #search = START
  /** Time since which the limit is in effect, and of the last reduction after a failure. */
  #changedAt = -Infinity
  #reducedAt = -Infinity
  /** Parts of this round, their bytes, and the sum of their durations in ms. */
  #parts = 0
  #bytes = 0
  #duration = 0

  /** Parts that may be in flight now. */
  get limit(): number {
    return this.#search.limit
  }

  /**
   * Counts a part. If the source or throttling left fewer parts in flight than allowed, nothing is learned.
   * @param start – in ms, as `end`
   * @param inFlight – parts in flight at `end`, including this one
   */
  sent(size: number, start: number, end: number, inFlight: number): void {
    if (inFlight > this.limit) this.#changedAt = end // a lower limit is not in effect yet
    if (inFlight !== this.limit) return
    // Ignore a part that was mostly sent at another limit.
    if (start + (end - start) / 4 < this.#changedAt) return
    this.#parts++
    this.#bytes += size
    this.#duration += end - start
    if (this.#parts < this.limit) return
    // By Little's law. Unlike the time of the round, this is exact even if parts end in bursts.
    const rate = (this.limit * this.#bytes) / this.#duration
    this.#continue(afterRound(this.#search, rate), end)
  }

  /** Reduces the limit once for all requests that were in flight when the first of them failed. */
  failed(start: number, end: number): void {
    if (start < this.#reducedAt) return
    this.#reducedAt = end
    this.#continue(afterFailure(this.#search), end)
  }

  #continue(search: Search, now: number): void {
    if (search.limit !== this.limit) this.#changedAt = now
    this.#search = search
    this.#parts = this.#bytes = this.#duration = 0
  }
}
