/**
 * Clock of the stored times, which tests can move ahead. Signatures are checked against the real time, because the
 * clients have no other.
 */
import { isTime } from './field-checks.js'

export class Clock {
  #ahead = 0

  /** Returns ms since the epoch. */
  now(): number {
    return Date.now() + this.#ahead
  }

  /**
   * Moves the clock ahead.
   *
   * @throws `RangeError` unless `ms` is a number of at least 0 that leads to a valid time
   */
  advance(ms: number): void {
    if (!(Number.isFinite(ms) && ms >= 0 && isTime(this.now() + ms)))
      throw new RangeError(
        `Expected \`ms\` to be a number >= 0 that leads to a valid time, got \`${String(ms)}\``,
      )
    this.#ahead += ms
  }
}
