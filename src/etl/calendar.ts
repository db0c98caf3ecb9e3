/**
 * Times as dates in one time zone, as keys have them. Every record has its time, so what is asked for
 * again is remembered, and UTC needs no `Intl`, which is slow.
 */
import { invalidType, invalidValue } from '../errors.js'

export const DATE_NAMES = ['yyyy', 'MM', 'dd', 'HH', 'mm', 'ss'] as const

/** With leading zeros. */
export type DateFields = Readonly<Record<(typeof DATE_NAMES)[number], string>>

/** Since then the offsets of all zones are whole minutes, so within one only the seconds differ. */
const WHOLE_MINUTES = Date.UTC(1972, 1)
const MINUTE = 60_000

/** How many dates are remembered. */
const MAX_KNOWN = 1000

/** Years of four digits in every zone. */
const MIN = Date.parse('0001-01-02T00:00:00Z')
const MAX = Date.parse('9999-12-30T00:00:00Z')

export class Calendar {
  readonly #format: Intl.DateTimeFormat | undefined
  readonly #known = new Map<number, DateFields>()

  /** @throws TypeError for a time zone that Intl does not know */
  constructor(timeZone: unknown = 'UTC') {
    if (typeof timeZone !== 'string') throw invalidType('timeZone', 'a string', timeZone)
    if (timeZone !== 'UTC') this.#format = formatOf(timeZone)
  }

  /** @throws TypeError for what is no time */
  fields(time: unknown): DateFields {
    const ms = time instanceof Date ? time.getTime() : time
    if (typeof ms !== 'number' || !(ms >= MIN && ms <= MAX)) {
      throw invalidType('time', 'a function that returns a Date or milliseconds', time)
    }
    if (ms < WHOLE_MINUTES) return this.#fieldsOf(ms)
    const minute = Math.floor(ms / MINUTE)
    let fields = this.#known.get(minute)
    if (fields === undefined) {
      fields = this.#fieldsOf(minute * MINUTE)
      if (this.#known.size === MAX_KNOWN) this.#known.clear()
      this.#known.set(minute, fields)
    }
    return { ...fields, ss: String(Math.floor((ms % MINUTE) / 1000)).padStart(2, '0') }
  }

  #fieldsOf(ms: number): DateFields {
    return this.#format === undefined ? inUtc(ms) : inZone(this.#format, ms)
  }
}

function inUtc(ms: number): DateFields {
  const text = new Date(ms).toISOString()
  return {
    yyyy: text.slice(0, 4),
    MM: text.slice(5, 7),
    dd: text.slice(8, 10),
    HH: text.slice(11, 13),
    mm: text.slice(14, 16),
    ss: text.slice(17, 19),
  }
}

function formatOf(timeZone: string): Intl.DateTimeFormat {
  const number = '2-digit'
  try {
    return new Intl.DateTimeFormat('en-US', {
      timeZone,
      calendar: 'gregory',
      numberingSystem: 'latn',
      hourCycle: 'h23',
      year: 'numeric',
      month: number,
      day: number,
      hour: number,
      minute: number,
      second: number,
    })
  } catch {
    throw invalidValue('timeZone', 'must be a time zone such as "Asia/Shanghai"', timeZone)
  }
}

function inZone(format: Intl.DateTimeFormat, ms: number): DateFields {
  const parts = format.formatToParts(ms)
  const part = (type: Intl.DateTimeFormatPartTypes): string =>
    parts.find(p => p.type === type)?.value ?? ''
  return {
    yyyy: part('year').padStart(4, '0'),
    MM: part('month'),
    dd: part('day'),
    HH: part('hour'),
    mm: part('minute'),
    ss: part('second'),
  }
}
