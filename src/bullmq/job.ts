/**
 * What a job is: an upload that any worker of the fleet can do, told in words that survive JSON. The
 * id of a job is the id of its upload, so what is seen in the queue is what `oss-spool ls` shows.
 */
import { createHash, randomUUID } from 'node:crypto'
import type { Job, JobsOptions } from 'bullmq'
import type { ProgressEvent, SourceOptions, UploadOptions, UploadResult } from '../index.js'
import type { SourceStream } from '../upload/source.js'

/** A registered source: makes the bytes of an object from the `args` of its job, on any machine. */
export type JobSource<Args> = (
  args: Args,
  options: SourceOptions,
) => SourceStream | Promise<SourceStream>

/** The sources by name. Queue and workers share its type: `UploadQueue<typeof sources>`. */
export type Sources = Readonly<Record<string, JobSource<never>>>

/** Options of an upload that can be in a job. */
export type JobUpload = Omit<
  UploadOptions,
  'id' | 'once' | 'maxAge' | 'inPlace' | 'signal' | 'progress'
>

/** What is asked for: an object, and the source of its bytes. */
export type UploadRequest<S extends Sources> = {
  [Name in keyof S & string]: {
    /** Of the object. */
    readonly key: string
    /** Name of a registered source. */
    readonly source: Name
    /** Options of this upload; those of the worker's `Spool` are the defaults. */
    readonly upload?: JobUpload
  } & Given<Parameters<S[Name]>[0]>
}[keyof S & string]

/** `args` may be left out for a source that takes none. */
export type Given<Args> = undefined extends Args
  ? {
      /** What the source is called with; JSON. */
      readonly args?: Args
    }
  : {
      /** What the source is called with; JSON. */
      readonly args: Args
    }

/** The data of a job, as it is in Redis. */
export interface UploadData {
  /** Of the object. */
  readonly key: string
  /** Name of a registered source. */
  readonly source: string
  /** What the source is called with; JSON. */
  readonly args?: unknown
  /** Options of this upload. */
  readonly upload?: JobUpload
}

/** The data of the job that writes the manifest of a flow. */
export interface ManifestData {
  /** Of the manifest. */
  readonly key: string
  /** What it tells of. */
  readonly manifest: {
    /** Name of the whole. */
    readonly job: string
    /** Keys of all objects, in the order of the manifest. */
    readonly keys: readonly string[]
  }
  /** Options of the manifest's upload. */
  readonly upload?: JobUpload
}

/** The data of a job of the shared queue. */
export type JobData = UploadData | ManifestData

/** Where a job is: what its progress in Redis says, once a second. */
export interface JobProgress extends ProgressEvent {
  /** The host that works on it. */
  readonly host: string
}

/** What a job has brought about: the upload's result. */
export interface JobResult extends UploadResult {
  /** The host that finished it. */
  readonly host: string
}

/** A job of the shared queue. */
export type UploadJob = Job<JobData, JobResult, string, JobProgress>

/** The name of the queue, and what all its keys begin with. */
export const DEFAULT_QUEUE_NAME = 'oss-spool'

/**
 * How jobs are tried again unless told otherwise: ten times within an hour and a half. What failed is
 * kept until somebody looks, what is done for a week.
 */
export const DEFAULT_JOB_OPTIONS = {
  attempts: 10,
  backoff: { type: 'exponential', delay: 5_000, jitter: 0.5 },
  removeOnComplete: { age: 7 * 24 * 3600, count: 10_000 },
} as const satisfies JobsOptions

/** A new id, which tells people of the key. */
export function newJobId(key: string): string {
  const name = key.slice(key.lastIndexOf('/') + 1).replace(/[^A-Za-z0-9_-]+/g, '-')
  return `${name.slice(-40)}-${randomUUID()}`.replace(/^-+/, '')
}

/** The same for every job of `key`: there is one of them at a time. */
export function deduplicationId(key: string): string {
  return createHash('sha256').update(key).digest('hex').slice(0, 32)
}
