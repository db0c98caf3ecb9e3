/**
 * Placeholders in the key and the arguments of a schedule, which stand for the time of a run. They are replaced
 * before the first start of a run. The time is that of the schedule, so a late or retried run keeps its key.
 */
import { Calendar, DATE_PLACEHOLDERS, type DateFields } from '../etl/date-fields.js'
import { invalidValue } from '../errors.js'
import type { ScheduledData, UploadData } from './job.js'

type RunFields = DateFields & { readonly scheduled: string }

/** Local time may be put back by up to this time, such as at the end of summer time. */
const MAX_REPEATED_MS = 2 * 3600_000

/** Returns whether data, which may not have been checked, has placeholders of a run. */
export function isScheduledData(data: unknown): data is ScheduledData {
  return typeof data === 'object' && data !== null && 'placeholders' in data
}

/**
 * Returns the time in ms of a run of a schedule.
 * @throws TypeError if a job is no run of a schedule
 */
export function runTime(jobId: string): number {
  const ms = /^repeat:.+:(\d+)$/.exec(jobId)?.[1]
  if (ms === undefined) throw invalidValue('placeholders', 'needs a run of a schedule', jobId)
  return Number(ms)
}

/**
 * Returns the data of a run, with the placeholders replaced.
 * @throws TypeError if the time or its zone is invalid
 */
export function fillPlaceholders(
  { placeholders, ...data }: ScheduledData,
  time: number,
): UploadData {
  const fields = runFields(new Calendar(placeholders.timeZone), time)
  const key = fillText(data.key, fields)
  return data.args === undefined
    ? { ...data, key }
    : { ...data, key, args: fillAll(data.args, fields) }
}

/**
 * Checks that every run has a key of its own: a run that is retried must not replace the object of a later one.
 * @param runs – times of some consecutive runs, in ms
 * @throws TypeError
 */
export function checkRunKeys(key: string, timeZone: string, runs: readonly number[]): void {
  const names = [...key.matchAll(/\{([^{}]*)\}/g)].map(([, name = '']) => name)
  const unknown = names.find(name => name !== 'scheduled' && !isDatePlaceholder(name))
  if (unknown !== undefined)
    throw invalidValue('key', `has the unknown placeholder {${unknown}}`, key)
  if (/[{}]/.test(key.replaceAll(/\{[^{}]*\}/g, ''))) {
    throw invalidValue('key', 'has an unmatched brace', key)
  }
  if (names.includes('scheduled')) return
  const used = DATE_PLACEHOLDERS.filter(name => names.includes(name))
  // Such as year and day without the month.
  const hasGap = used.length === 0 || used.at(-1) !== DATE_PLACEHOLDERS[used.length - 1]
  const calendar = new Calendar(timeZone)
  const keys = new Set(runs.map(time => fillText(key, runFields(calendar, time))))
  const isRepeatedHour =
    timeZone !== 'UTC' &&
    used.includes('HH') &&
    runs.some((time, i) => time - (runs[i - 1] ?? -Infinity) <= MAX_REPEATED_MS)
  if (hasGap || keys.size < runs.length || isRepeatedHour) {
    throw invalidValue('key', 'must be different for each run. Use {scheduled}', key)
  }
}

function isDatePlaceholder(name: string): boolean {
  return DATE_PLACEHOLDERS.some(each => each === name)
}

function runFields(calendar: Calendar, time: number): RunFields {
  const fields = calendar.fields(time)
  const scheduled = `${new Date(time).toISOString().slice(0, 19).replaceAll(':', '-')}Z`
  return { ...fields, scheduled }
}

/** Replaces placeholders in all texts of a JSON value. */
function fillAll(value: unknown, fields: RunFields): unknown {
  if (typeof value === 'string') return fillText(value, fields)
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) return value.map(each => fillAll(each, fields))
  return Object.fromEntries(
    Object.entries(value).map(([name, each]) => [name, fillAll(each, fields)]),
  )
}

function fillText(text: string, fields: RunFields): string {
  return text.replaceAll(
    /\{(scheduled|yyyy|MM|dd|HH|mm|ss)\}/g,
    (_, name: keyof RunFields) => fields[name],
  )
}
