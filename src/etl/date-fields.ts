/**
 * Date fields of a time in one time zone, for use in keys. Called once per record, so results are cached per
 * minute, and UTC does not use `Intl`, which is slow.
 */
import { types } from 'node:util'
import { invalidType, invalidValue } from '../errors.js'
import { invalidResult } from './callback-result.js'

export const DATE_PLACEHOLDERS = ['yyyy', 'MM', 'dd', 'HH', 'mm', 'ss'] as const

/** Values are zero-padded. */
export type DateFields = Readonly<Record<(typeof DATE_PLACEHOLDERS)[number], string>>

/** From this time on, all zone offsets are whole minutes: within a minute, only the seconds differ. */
const WHOLE_MINUTE_OFFSETS_SINCE_MS = Date.UTC(1972, 1)
const MINUTE_MS = 60_000

/** Limit of the cache; it is cleared when full. */
const MAX_CACHED_MINUTES = 1000

/** Range of times whose year has four digits in every zone. */
const MIN_TIME_MS = Date.parse('0001-01-02T00:00:00Z')
const MAX_TIME_MS = Date.parse('9999-12-30T00:00:00Z')

export class Calendar {
  readonly #format: Intl.DateTimeFormat | undefined
  readonly #fieldsByMinute = new Map<number, DateFields>()

  /** @throws TypeError if `Intl` does not know the time zone */
  constructor(timeZone: unknown = 'UTC') {
    if (typeof timeZone !== 'string') throw invalidType('timeZone', 'a string', timeZone)
    if (timeZone !== 'UTC') this.#format = createDateFormat(timeZone)
  }

  /**
   * @param time – a `Date`, or milliseconds since the epoch
   * @throws TypeError if `time` is neither, or out of range
   */
  fields(time: unknown): DateFields {
    const ms = types.isDate(time) ? time.getTime() : time
    if (typeof ms !== 'number' || !(ms >= MIN_TIME_MS && ms <= MAX_TIME_MS)) {
      throw invalidResult('time', 'a Date or milliseconds', time)
    }
    if (ms < WHOLE_MINUTE_OFFSETS_SINCE_MS) return this.#computeFields(ms)
    const minute = Math.floor(ms / MINUTE_MS)
    let fields = this.#fieldsByMinute.get(minute)
    if (fields === undefined) {
      fields = this.#computeFields(minute * MINUTE_MS)
      if (this.#fieldsByMinute.size === MAX_CACHED_MINUTES) this.#fieldsByMinute.clear()
      this.#fieldsByMinute.set(minute, fields)
    }
    return { ...fields, ss: String(Math.floor((ms % MINUTE_MS) / 1000)).padStart(2, '0') }
  }

  #computeFields(ms: number): DateFields {
    return this.#format === undefined ? utcFields(ms) : zonedFields(this.#format, ms)
  }
}

function utcFields(ms: number): DateFields {
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

function createDateFormat(timeZone: string): Intl.DateTimeFormat {
  const twoDigits = '2-digit'
  try {
    return new Intl.DateTimeFormat('en-US', {
      timeZone,
      calendar: 'gregory',
      numberingSystem: 'latn',
      hourCycle: 'h23',
      year: 'numeric',
      month: twoDigits,
      day: twoDigits,
      hour: twoDigits,
      minute: twoDigits,
      second: twoDigits,
    })
  } catch {
    throw invalidValue('timeZone', 'must be a time zone such as "Asia/Shanghai"', timeZone)
  }
}

function zonedFields(format: Intl.DateTimeFormat, ms: number): DateFields {
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
