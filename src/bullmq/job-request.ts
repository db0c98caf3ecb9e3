/** Requests to add jobs: checks them, splits them into data and options, and compares them with existing jobs. */
import { isDeepStrictEqual } from 'node:util'
import { checkObject, checkProperties, invalidType, outOfRange, SpoolError } from '../errors.js'
import { omitUndefined } from '../util/omit-undefined.js'
import type { JobData, ObjectRequest, Sources, UploadData, UploadJob } from './job.js'
import { checkJobData, JOB_DATA_VERSION } from './job-data.js'
import { checkJobOptions, JOB_OPTIONS, type JobOptions } from './job-options.js'

const MAX_ID_CHARS = 1_024

/** A request as BullMQ stores it. */
export interface ParsedRequest {
  readonly data: UploadData
  readonly options: JobOptions
}

/**
 * @param others – has a property of each further property of the request, which the caller checks itself
 * @throws SpoolError `ERR_SPOOL_INVALID_KEY`, TypeError or RangeError
 */
export function parseRequest<S extends Sources>(
  request: ObjectRequest<S>,
  others: Readonly<Record<string, true>> = {},
): ParsedRequest {
  checkObject('request', request)
  const data = {
    key: true,
    source: true,
    args: true,
    upload: true,
    sourceIdleTimeout: true,
    sourceTimeout: true,
  } as const
  checkProperties('request', request, { ...data, ...JOB_OPTIONS, ...others })
  checkJobData(request)
  checkJobOptions(request)
  return {
    // The checks above are those of this type; a request has no manifest.
    data: toJson({ ...pick(request, data), v: JOB_DATA_VERSION }) as UploadData,
    options: pick(request, JOB_OPTIONS), // whose properties are all optional
  }
}

/** @throws TypeError or RangeError if `id` cannot name a job */
export function checkJobId(id: unknown): void {
  if (id === undefined) return
  if (typeof id !== 'string' || !id.isWellFormed()) {
    throw invalidType('id', 'a string of well-formed Unicode', id)
  }
  if (id.length < 1 || id.length > MAX_ID_CHARS) {
    throw outOfRange('id', `1 to ${MAX_ID_CHARS} characters long`, id.length)
  }
}

/**
 * Checks that a job is the one that was requested.
 * @throws SpoolError `ERR_SPOOL_ID_IN_USE` if it uploads something else
 */
export function checkSameUpload(job: UploadJob, requested: UploadData): void {
  const stored: Partial<UploadData> & JobData = job.data
  const fields = ['key', 'source', 'args', 'upload'] as const
  const different = fields.filter(field => !isDeepStrictEqual(stored[field], requested[field]))
  if (different.length === 0) return
  const { id = '' } = job
  const message = `The job ${id} exists with a different ${different.join(', ')}`
  // With any id, a second unfinished job with the same key is refused.
  const isIdTaken = job.finishedOn !== undefined || different.includes('key')
  throw new SpoolError('ERR_SPOOL_ID_IN_USE', message, {
    id,
    hint: say =>
      isIdTaken
        ? `Use another ${say.option('id')}.`
        : 'Cancel that job, or add this one when that job has ended.',
  })
}

/** Returns the properties with these names, without undefined ones. */
function pick(object: object, names: Readonly<Record<string, true>>): object {
  const entries = Object.entries(object).filter(([name]) => Object.hasOwn(names, name))
  return omitUndefined(Object.fromEntries(entries))
}

/** Returns data as it comes back from Redis. */
export function toJson(data: unknown): unknown {
  return JSON.parse(JSON.stringify(data))
}
