/**
 * The status of a job, derived from what Redis has of it. Anything that can write to Redis can add jobs, so nothing
 * but its id is sure to be there, or to have the right type.
 */
import type { UploadJob } from '../../bullmq/index.js'
import { isError } from '../../util/error-shape.js'

/** Status of a job, as `jobs ls --json` prints it. */
export interface JobStatus {
  readonly id: string
  /** State of the job in BullMQ. */
  readonly state: string
  readonly key: string
  /** Absent for the job that writes the manifest of a flow. */
  readonly source?: string
  /** Number of attempts used up. */
  readonly attempts: number
  readonly maxAttempts: number
  readonly priority?: number
  /** Time at which it was added: ISO 8601, UTC. */
  readonly addedAt?: string
  /** Start of its last run. */
  readonly startedAt?: string
  readonly endedAt?: string
  /** Host that runs it, ran it last, or finished it. */
  readonly host?: string
  readonly progress?: {
    /** Bytes read from the source. */
    readonly spooled: number
    /** Bytes in parts that OSS has acknowledged. */
    readonly uploaded: number
    /** Bytes of the object, once known. */
    readonly size?: number
  }
  /** Why the last attempt failed. */
  readonly error?: string
}

/** Parts of a job that are stored in Redis, of any type. */
type StoredJob = Pick<
  UploadJob,
  | 'id'
  | 'attemptsMade'
  | 'timestamp'
  | 'processedOn'
  | 'finishedOn'
  | 'failedReason'
  | 'data'
  | 'opts'
  | 'progress'
  | 'returnvalue'
>

export const DAMAGED_TEXT = 'its data in Redis is damaged'

/** Returns whether a job cannot be read: BullMQ throws the error of the JSON in it. */
export function isDamagedJob(error: unknown): boolean {
  return isError(error) && error.name === 'SyntaxError'
}

/** @param state – state of the job in BullMQ, which is not part of the job */
export function jobStatusOf(job: StoredJob, state: string): JobStatus {
  const source = textOf(job.data, 'source')
  const priority = numberOf(job.opts, 'priority') ?? 0
  const times = {
    addedAt: isoTime(job.timestamp),
    startedAt: isoTime(job.processedOn),
    endedAt: isoTime(job.finishedOn),
  }
  const host = textOf(job.returnvalue, 'host') ?? textOf(job.progress, 'host')
  const progress = progressOf(job.returnvalue) ?? progressOf(job.progress)
  return {
    id: job.id ?? '',
    state,
    key: textOf(job.data, 'key') ?? '',
    ...(source === undefined ? {} : { source }),
    attempts: toCount(job.attemptsMade) ?? 0,
    maxAttempts: numberOf(job.opts, 'attempts') ?? 1,
    ...(priority === 0 ? {} : { priority }),
    ...(times.addedAt === undefined ? {} : { addedAt: times.addedAt }),
    ...(times.startedAt === undefined ? {} : { startedAt: times.startedAt }),
    ...(times.endedAt === undefined ? {} : { endedAt: times.endedAt }),
    ...(host === undefined ? {} : { host }),
    ...(progress === undefined ? {} : { progress }),
    ...(typeof job.failedReason === 'string' ? { error: job.failedReason } : {}),
  }
}

/** Returns the progress in an event of `onProgress`, or that of a result, whose bytes are all on OSS. */
function progressOf(value: unknown): JobStatus['progress'] {
  const size = numberOf(value, 'size')
  const spooled = numberOf(value, 'spooled') ?? size
  const uploaded = numberOf(value, 'uploaded') ?? size
  if (spooled === undefined || uploaded === undefined) return undefined
  return { spooled, uploaded, ...(size === undefined ? {} : { size }) }
}

function textOf(value: unknown, name: string): string | undefined {
  const text = property(value, name)
  return typeof text === 'string' ? text : undefined
}

function numberOf(value: unknown, name: string): number | undefined {
  return toCount(property(value, name))
}

function property(value: unknown, name: string): unknown {
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name)) return undefined
  return (value as Readonly<Record<string, unknown>>)[name] // an object, as just checked
}

function toCount(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : undefined
}

/** Times beyond the range of `Date` are left out. */
function isoTime(ms: unknown): string | undefined {
  const time = new Date(toCount(ms) ?? Number.NaN)
  return Number.isNaN(time.getTime()) ? undefined : time.toISOString()
}
