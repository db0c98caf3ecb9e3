/** Dates and points in time, as Parquet stores them: days, and microseconds, since 1970-01-01 UTC. */
import { types } from 'node:util'

const DAY_MS = 86_400_000
const DATE = /^(\d{4})-(\d\d)-(\d\d)$/
const TIMESTAMP =
  /^(\d{4}-\d\d-\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:Z|([+-])(\d\d):(\d\d))$/

/**
 * Returns the day of a text `YYYY-MM-DD`, or of a `Date` at midnight UTC. Any other `Date` is refused: its day
 * depends on the time zone.
 */
export function toDays(value: unknown): number | undefined {
  const ms = typeof value === 'string' ? parseDate(value) : toMs(value)
  return ms !== undefined && ms % DAY_MS === 0 ? ms / DAY_MS : undefined
}

/** Returns the microseconds of a `Date`, of milliseconds, or of an ISO 8601 text with a time zone. */
export function toMicroseconds(value: unknown): bigint | undefined {
  if (typeof value === 'string') return parseTimestamp(value)
  const ms = typeof value === 'number' && isTime(value) ? value : toMs(value)
  return ms === undefined ? undefined : BigInt(ms) * 1000n
}

function toMs(value: unknown): number | undefined {
  const ms = types.isDate(value) ? value.getTime() : NaN
  return Number.isNaN(ms) ? undefined : ms
}

/** Whether a number is in the range of `Date`. */
function isTime(ms: number): boolean {
  return Number.isInteger(ms) && Math.abs(ms) <= 8.64e15
}

function parseDate(text: string): number | undefined {
  const match = DATE.exec(text)
  if (match === null) return undefined
  const date = new Date(0)
  date.setUTCFullYear(Number(match[1]), Number(match[2]) - 1, Number(match[3]))
  return date.toISOString().startsWith(text) ? date.getTime() : undefined // no 30 February
}

function parseTimestamp(text: string): bigint | undefined {
  const match = TIMESTAMP.exec(text)
  if (match === null) return undefined
  const [, day = '', hh, mm, ss, fraction = '', sign, zoneHours = 0, zoneMinutes = 0] = match
  const dayMs = parseDate(day)
  const [hours, minutes, seconds] = [Number(hh), Number(mm), Number(ss)]
  if (dayMs === undefined || hours > 23 || minutes > 59 || seconds > 59) return undefined
  if (Number(zoneHours) > 23 || Number(zoneMinutes) > 59) return undefined
  const nanoseconds = Number(fraction.padEnd(9, '0'))
  if (nanoseconds % 1000 !== 0) return undefined // it would be rounded
  const offset = (Number(zoneHours) * 60 + Number(zoneMinutes)) * (sign === '-' ? -1 : 1)
  const ms = dayMs + ((hours * 60 + minutes - offset) * 60 + seconds) * 1000
  return BigInt(ms) * 1000n + BigInt(nanoseconds / 1000)
}
