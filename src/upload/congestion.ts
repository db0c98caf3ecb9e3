/**
 * Congestion: how many requests of an upload may be out at a time. As TCP does it: halved when OSS
 * throttles, grown by one for each round of successes, and all parts pause together, since each that
 * came a little later would only be refused, too.
 */

export class Congestion {
  readonly #max: number
  #limit: number
  /** Until when nothing new goes out, by `performance.now()`. */
  #pausedUntil = 0
  #timesThrottled = 0

  /** `most`: the `parallel` option. */
  constructor(most: number) {
    this.#max = most
    this.#limit = most
  }

  /** Parts that may be in flight now; at least 1. */
  get limit(): number {
    return Math.floor(this.#limit)
  }

  /** ms until the next request may go out. */
  get pause(): number {
    return Math.max(0, this.#pausedUntil - performance.now())
  }

  /**
   * OSS asked for less. Refusals during a pause are the same congestion.
   * @param delay ms of quiet after so many congestions in a row
   */
  reduce(delay: (times: number) => number): void {
    if (this.pause > 0) return
    this.#timesThrottled++
    this.#limit = Math.max(1, this.#limit / 2)
    this.#pausedUntil = performance.now() + delay(this.#timesThrottled)
  }

  increase(): void {
    this.#timesThrottled = 0
    this.#limit = Math.min(this.#max, this.#limit + 1 / this.#limit)
  }
}
