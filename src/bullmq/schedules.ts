/**
 * Schedules of uploads, over BullMQ's job schedulers. Each run is a job with its own key, id and upload. BullMQ adds
 * the next run when a worker takes the current one.
 */
import { isDeepStrictEqual } from 'node:util'
import type { JobSchedulerJson, Queue, RepeatOptions } from 'bullmq'
import { invalidType, invalidValue } from '../errors.js'
import { checkKey } from '../upload/model/names.js'
import { omitUndefined } from '../util/omit-undefined.js'
import type { JobData, JobUpload, ObjectRequest, ScheduledData, Sources, UploadJob } from './job.js'
import type { JobOptions } from './job-options.js'
import { parseRequest, toJson } from './job-request.js'
import { checkRunKeys, fillPlaceholders, isScheduledData, runTime } from './run-placeholders.js'
import { checkSchedule, nextRuns, toRepeatOptions, type Schedule } from './schedule-times.js'

/** A schedule and its next run. */
export interface ScheduleStatus {
  /** Name of the schedule. */
  readonly name: string
  /** Cron fields, unless the schedule has an interval. */
  readonly cron?: string
  /** Interval in ms, unless the schedule has cron fields. */
  readonly every?: number
  /** Time zone of `cron` and of date placeholders. */
  readonly timeZone: string
  /** Time of the next run; in the past if it waits for a worker. */
  readonly next: Date
  /** Id of the job of the next run. */
  readonly nextJobId: string
  /** Key with placeholders. */
  readonly key: string
  /** Name of the source. */
  readonly source: string
  /** Arguments with placeholders. */
  readonly args?: unknown
  /** Options of each upload. */
  readonly upload?: JobUpload
}

/** Number of runs whose keys are compared. */
const COMPARED_RUNS = 100

interface Template {
  readonly name: string
  readonly data: ScheduledData
  readonly opts: Omit<JobOptions, 'delay'>
}

export class Schedules {
  readonly #queue: Queue<UploadJob>
  readonly #jobOptions: JobOptions

  /** @param jobOptions – default options of each run */
  constructor(queue: Queue<UploadJob>, jobOptions: JobOptions) {
    this.#queue = queue
    this.#jobOptions = jobOptions
  }

  async set<S extends Sources>(
    name: string,
    schedule: Schedule,
    request: ObjectRequest<S>,
  ): Promise<ScheduleStatus> {
    checkScheduleName(name)
    checkSchedule(schedule)
    const template = this.#parseTemplate(schedule, request)
    const repeat = toRepeatOptions(schedule)
    const existing = await this.#queue.getJobScheduler(name)
    // BullMQ removes a run that waits for a worker when a schedule is set, even to the same times.
    if (existing?.next !== undefined && isSame(existing, repeat, template)) {
      return toStatus(name, repeat, template.data, existing.next)
    }
    const { id = '' } = await this.#queue.upsertJobScheduler(name, repeat, template)
    return toStatus(name, repeat, template.data, runTime(id))
  }

  async remove(name: string): Promise<boolean> {
    checkScheduleName(name)
    return this.#queue.removeJobScheduler(name)
  }

  async list(): Promise<ScheduleStatus[]> {
    const schedulers = await this.#queue.getJobSchedulers(0, -1, true)
    return schedulers.flatMap(scheduler => {
      const { key: name, next, template } = scheduler
      const data: unknown = template?.data
      return next === undefined || !isScheduledData(data)
        ? []
        : [toStatus(name, scheduler, data, next)]
    })
  }

  /** @throws TypeError, RangeError, or SpoolError `ERR_SPOOL_INVALID_KEY` */
  #parseTemplate<S extends Sources>(schedule: Schedule, request: ObjectRequest<S>): Template {
    const { data, options } = parseRequest(request)
    if (options.delay !== undefined) {
      throw invalidValue('delay', 'is not possible for a schedule', options.delay)
    }
    const { timeZone = 'UTC' } = schedule
    const runs = nextRuns(schedule, Date.now(), COMPARED_RUNS)
    checkRunKeys(data.key, timeZone, runs)
    const template = { ...data, placeholders: { timeZone } }
    for (const run of runs.slice(0, 1)) checkKey(fillPlaceholders(template, run).key)
    const { delay: _, ...opts } = { ...this.#jobOptions, ...options }
    return { name: data.source, data: template, opts }
  }
}

function checkScheduleName(name: unknown): void {
  if (typeof name !== 'string') throw invalidType('name', 'a string', name)
  if (!/^[A-Za-z0-9._-]{1,100}$/.test(name)) {
    throw invalidValue('name', 'must be 1 to 100 of A-Za-z0-9._-', name)
  }
}

function isSame(
  scheduler: JobSchedulerJson<JobData>,
  { pattern, every, offset, tz }: RepeatOptions,
  { name, data, opts }: Template,
): boolean {
  const times = { pattern, every, offset: every === undefined ? undefined : offset, tz }
  const stored = {
    pattern: scheduler.pattern,
    every: scheduler.every,
    offset: scheduler.every === undefined ? undefined : scheduler.offset,
    tz: scheduler.tz,
  }
  return (
    scheduler.name === name &&
    isDeepStrictEqual(stored, times) &&
    isDeepStrictEqual(scheduler.template, toJson({ data, opts }))
  )
}

function toStatus(
  name: string,
  { pattern, every }: Pick<RepeatOptions, 'pattern' | 'every'>,
  { placeholders: { timeZone }, key, source, args, upload }: ScheduledData,
  next: number,
): ScheduleStatus {
  return {
    name,
    timeZone,
    next: new Date(next),
    nextJobId: `repeat:${name}:${next}`,
    key,
    source,
    ...omitUndefined({ cron: pattern, every, args, upload }),
  }
}
