/** Types and defaults of jobs. A job describes, in JSON, an upload that any worker of the fleet can run. */
import { createHash, randomUUID } from 'node:crypto'
import type { Job, JobsOptions } from 'bullmq'
import type { ProgressEvent, SourceOptions, UploadOptions, UploadResult } from '../index.js'
import type { SourceStream } from '../upload/model/source.js'
import type { JobOptions } from './job-options.js'
import { readablePart } from './upload-id.js'

/**
 * A source that workers offer to jobs. Produces the bytes of an object from the `args` of its job; must give the same bytes on
 * every machine.
 */
export type JobSource<Args> = (
  args: Args,
  options: SourceOptions,
) => SourceStream | Promise<SourceStream>

/** Sources by name. The queue and its workers share this type: `UploadQueue<typeof sources>`. */
export type Sources = Readonly<Record<string, JobSource<never>>>

/** Upload options that a job can set. */
export type JobUpload = Omit<
  UploadOptions,
  'id' | 'once' | 'maxAge' | 'inPlace' | 'signal' | 'progress' | 'onProgress'
>

/** Limits of each run of a source. Default: those of the worker. */
export interface JobSourceLimits {
  /**
   * Time in ms without a byte from the source after which the attempt fails, while the upload waits for one.
   * Time in which the upload makes the source wait does not count.
   */
  readonly sourceIdleTimeout?: number
  /** Time in ms from the call of the source to its last byte after which the attempt fails. */
  readonly sourceTimeout?: number
}

/**
 * An object to upload from a registered source, and options of its job. `args` is optional if the source takes
 * none.
 */
export type ObjectRequest<S extends Sources> = JobOptions &
  JobSourceLimits &
  {
    [Name in keyof S & string]: {
      /** Key of the object. */
      readonly key: string
      /** Name of a registered source. */
      readonly source: Name
      /** Options of this upload. Default: the options of the worker's `Spool`. */
      readonly upload?: JobUpload
    } & (undefined extends Parameters<S[Name]>[0]
      ? {
          /** Arguments of the source, as JSON. */
          readonly args?: Parameters<S[Name]>[0]
        }
      : {
          /** Arguments of the source, as JSON. */
          readonly args: Parameters<S[Name]>[0]
        })
  }[keyof S & string]

/** Request to upload an object. */
export type UploadRequest<S extends Sources> = ObjectRequest<S> & {
  /** Id of the job: 1 to 1,024 characters of any kind. Default: a new id that starts with the name of the object. */
  readonly id?: string
}

/** Data of an upload job, as stored in Redis. */
export interface UploadData extends JobSourceLimits {
  /** Version of this data. Workers leave jobs of later versions to later workers. @default 1 */
  readonly v?: number
  /** Key of the object. */
  readonly key: string
  /** Name of a registered source. */
  readonly source: string
  /** Arguments of the source, as JSON. */
  readonly args?: unknown
  /** Options of this upload. */
  readonly upload?: JobUpload
  /** Random text in jobs with a given id. Shows which of several equal requests added the job. */
  readonly nonce?: string
}

/** Data of a run of a schedule before its first start, when the worker replaces the placeholders. */
export interface ScheduledData extends UploadData {
  /** Marks the key and arguments as texts with placeholders. */
  readonly placeholders: {
    /** Time zone of date placeholders. */
    readonly timeZone: string
  }
}

/** Data of the job that writes the manifest of a flow. */
export interface ManifestData {
  /** Version of this data. Workers leave jobs of later versions to later workers. @default 1 */
  readonly v?: number
  /** Key of the manifest object. */
  readonly key: string
  /** Contents of the manifest. */
  readonly manifest: {
    /** Name of the flow. */
    readonly job: string
    /** Keys of all objects, in the order of the manifest. */
    readonly keys: readonly string[]
  }
  /** Options of the manifest's upload. */
  readonly upload?: JobUpload
}

/** Data of a job in the shared queue. */
export type JobData = UploadData | ScheduledData | ManifestData

/** Progress of a job, stored in Redis once per second. */
export interface JobProgress extends ProgressEvent {
  /** Name of the host that works on the job. */
  readonly host: string
}

/** Return value of a job: the result of its upload. */
export interface JobResult extends UploadResult {
  /** Name of the host that finished the job. */
  readonly host: string
}

/** A job in the shared queue. */
export type UploadJob = Job<JobData, JobResult, string, JobProgress>

/** Default name of the queue. */
export const DEFAULT_QUEUE_NAME = 'oss-spool'

/**
 * Default options of jobs: ten attempts within 90 minutes. Failed jobs are kept until an operator removes them,
 * completed ones for a week.
 */
export const DEFAULT_JOB_OPTIONS = {
  attempts: 10,
  backoff: { type: 'exponential', delay: 5_000, jitter: 0.5 },
  removeOnComplete: { age: 7 * 24 * 3600, count: 10_000 },
} as const satisfies JobsOptions

/** Returns a new id that starts with the last segment of the key, for readability. */
export function newJobId(key: string): string {
  return `${readablePart(key.slice(key.lastIndexOf('/') + 1))}-${randomUUID()}`
}

/** Returns the deduplication id of `key`, which allows one unfinished job per key. */
export function deduplicationId(key: string): string {
  return createHash('sha256').update(key).digest('hex').slice(0, 32)
}
