/** When a schedule runs: checks, and the times of its runs, as BullMQ will compute them. */
import { getNextMillis, type RepeatOptions } from 'bullmq'
import {
  checkInteger,
  checkObject,
  checkProperties,
  invalidType,
  invalidValue,
  outOfRange,
} from '../errors.js'
import { Calendar } from '../etl/date-fields.js'
import { errorMessage } from '../util/error-shape.js'

/** When a schedule of `UploadQueue.schedule()` runs: by `cron` or at intervals. */
export type Schedule = {
  /** IANA name of the time zone of `cron` and of date placeholders, such as `Europe/Berlin`. @default 'UTC' */
  readonly timeZone?: string
} & (
  | {
      /** Five fields of cron, or six that start with seconds, such as `30 2 * * *`. */
      readonly cron: string
      /** Not together with `cron`. */
      readonly every?: undefined
    }
  | {
      /**
       * Interval in ms, a multiple of 1,000. Runs are at its multiples since 1970 in UTC: `3_600_000` is each full
       * hour.
       */
      readonly every: number
      /** Not together with `every`. */
      readonly cron?: undefined
    }
)

const SECOND_MS = 1_000
const MAX_INTERVAL_MS = 366 * 24 * 3600_000

/** @throws TypeError or RangeError */
export function checkSchedule(schedule: Schedule): void {
  checkObject('schedule', schedule)
  checkProperties('schedule', schedule, { cron: true, every: true, timeZone: true })
  const { cron, every, timeZone } = schedule
  void new Calendar(timeZone) // throws if there is no such zone
  if ((cron === undefined) === (every === undefined)) {
    throw invalidValue('schedule', 'must have either "cron" or "every"', undefined)
  }
  checkInteger('every', every, SECOND_MS, MAX_INTERVAL_MS)
  if (every !== undefined && every % SECOND_MS !== 0) {
    throw outOfRange('every', `a multiple of ${SECOND_MS}`, every)
  }
  if (cron !== undefined) checkCron(cron)
}

function checkCron(cron: unknown): void {
  if (typeof cron !== 'string') throw invalidType('cron', 'a string', cron)
  const fields = cron.trim().split(/\s+/)
  // BullMQ accepts fewer fields. "H" stands for a random number, so each process would have another schedule.
  if ((fields.length !== 5 && fields.length !== 6) || fields.some(field => /(^|,)H/.test(field))) {
    throw invalidValue('cron', 'must have five or six fields, without "H"', cron)
  }
  try {
    if (getNextMillis(Date.now(), { pattern: cron }) !== undefined) return
  } catch (error) {
    throw invalidValue('cron', `is invalid: ${errorMessage(error)}`, cron)
  }
  throw invalidValue('cron', 'has no next run', cron)
}

/** Returns BullMQ's options for a schedule. */
export function toRepeatOptions({ cron, every, timeZone = 'UTC' }: Schedule): RepeatOptions {
  // With this offset, BullMQ aligns the runs. Otherwise, they would depend on the time of the first declaration.
  return every === undefined ? { pattern: cron, tz: timeZone } : { every, offset: every }
}

/**
 * Returns the times in ms of the next runs after a time.
 * @param count – maximum number; a pattern may have fewer
 */
export function nextRuns(schedule: Schedule, after: number, count: number): number[] {
  const runs: number[] = []
  let time: number | undefined = after
  while (runs.length < count) {
    time = nextRun(schedule, time)
    if (time === undefined) break
    runs.push(time)
  }
  return runs
}

function nextRun({ cron, every, timeZone = 'UTC' }: Schedule, after: number): number | undefined {
  if (every !== undefined) return (Math.floor(after / every) + 1) * every
  return getNextMillis(after, { pattern: cron, tz: timeZone })
}
