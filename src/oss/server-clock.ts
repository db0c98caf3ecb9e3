/**
 * OSS's clock, estimated from its replies. A `Date` header may come from a box on the way whose own clock is
 * wrong, so it counts only where something else confirms it.
 */
import type { HttpResponse } from './bucket.js'

/** Plausible range of a server's clock: OSS did not exist before it, and the time format changes after it. */
const EARLIEST_CLOCK_MS = Date.UTC(2000)
const LATEST_CLOCK_MS = Date.UTC(9000)
const HTTP_DATE = /^\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT$/
const SERVER_TIME =
  /<ServerTime>\s*(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?Z)\s*<\/ServerTime>/

/** OSS accepts requests dated at most this many ms before or after its own time. */
const MAX_SKEW_MS = 15 * 60_000

export class ServerClock {
  /** OSS's clock minus the local clock, in ms. */
  #offsetMs = -Infinity
  /** Offset with which requests are dated. */
  #signingOffsetMs = 0

  /** Returns the current time by OSS's clock, in ms since 1970. */
  now(): number {
    return Date.now() + (Number.isFinite(this.#offsetMs) ? this.#offsetMs : 0)
  }

  /**
   * Reads the time of a reply other than `RequestTimeTooSkewed`. OSS did not object to our date, so its own time is
   * close to it; a `Date` header that is not close is someone else's.
   */
  read(reply: HttpResponse): void {
    const offset = dateHeader(reply) - Date.now()
    if (Math.abs(offset - this.#signingOffsetMs) <= MAX_SKEW_MS) this.#observe(offset)
  }

  /**
   * Reads the time of a `RequestTimeTooSkewed` reply.
   * @param errorXml – its XML if it has any, whose `ServerTime` takes precedence over the `Date` header
   * @returns the offset to date requests with, or `undefined` if that would change nothing
   */
  readSkewed(reply: HttpResponse, errorXml: string): number | undefined {
    const written = plausible(Date.parse(SERVER_TIME.exec(errorXml)?.[1] ?? ''))
    const offset = (Number.isNaN(written) ? dateHeader(reply) : written) - Date.now()
    if (Number.isNaN(offset)) return undefined
    this.#observe(offset)
    if (this.#signingOffsetMs === this.#offsetMs) return undefined
    return (this.#signingOffsetMs = this.#offsetMs)
  }

  #observe(offset: number): void {
    // The time is truncated to whole seconds and delayed by the network, so it can only be behind. Keep the
    // largest offset, which is the most accurate, unless a clock was set.
    const jumped = Math.abs(offset - this.#offsetMs) > 2_000
    this.#offsetMs = jumped ? offset : Math.max(offset, this.#offsetMs)
  }
}

/** Returns the time of the `Date` header, or NaN. */
function dateHeader({ headers }: HttpResponse): number {
  const { date } = headers
  return typeof date === 'string' && HTTP_DATE.test(date) ? plausible(Date.parse(date)) : Number.NaN
}

function plausible(time: number): number {
  return time > EARLIEST_CLOCK_MS && time < LATEST_CLOCK_MS ? time : Number.NaN
}
