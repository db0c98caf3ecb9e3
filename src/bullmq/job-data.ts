/**
 * Checks the data of jobs: when a job is added, and when a worker takes it, because anything that can write to Redis
 * can add jobs.
 */
import { checkInteger, checkObject, checkProperties, invalidType } from '../errors.js'
import { checkKey } from '../upload/model/names.js'
import { checkOptions } from '../upload/model/options.js'
import { UnsupportedJobError } from './unsupported-job.js'
import type { JobData, JobSourceLimits, JobUpload, ManifestData } from './job.js'

/**
 * Upload options that a job can set: none that names a file of the worker's machine or belongs to the worker. The
 * compiler checks that none is missing.
 */
const JOB_UPLOAD_OPTIONS: Readonly<Record<keyof JobUpload, true>> = {
  partSize: true,
  parallel: true,
  size: true,
  expect: true,
  start: true,
  maxSpoolBytes: true,
  replay: true,
  checkpoint: true,
  retry: true,
  timeout: true,
  headers: true,
  meta: true,
  mime: true,
  storageClass: true,
  acl: true,
  tags: true,
  overwrite: true,
  callback: true,
}

/**
 * Version of the data that this version writes, and the latest that it reads. Increase it with every property or upload
 * option that changes the object, so that earlier workers leave the job to later ones.
 */
export const JOB_DATA_VERSION = 1

/** The longest time that a timer of Node can wait, 24 days. */
const MAX_TIMEOUT_MS = 2 ** 31 - 1

/** Has the length of every fingerprint. */
const FINGERPRINT_OF_LENGTH = '0'.repeat(64)

/**
 * @throws UnsupportedJobError for data of a later version, before anything else is checked
 * @throws TypeError, RangeError, or SpoolError `ERR_SPOOL_INVALID_KEY`
 */
export function checkJobData(data: unknown): asserts data is JobData {
  const properties = propertiesOf('data', data)
  const { v = 1, key, source, manifest, upload = {} } = properties
  checkInteger('v', v, 1, Number.MAX_SAFE_INTEGER)
  if (Number(v) > JOB_DATA_VERSION) {
    const message = `The data of the job has version ${String(v)}; this worker reads versions up to ${JOB_DATA_VERSION}. Update oss-spool`
    throw new UnsupportedJobError(message, { lacks: 'version' })
  }
  checkKey(key)
  checkProperties('upload', propertiesOf('upload', upload), JOB_UPLOAD_OPTIONS)
  // A worker adds the fingerprint to the metadata, whose size is limited.
  checkOptions({ ...propertiesOf('upload', upload), fingerprint: FINGERPRINT_OF_LENGTH })
  if (manifest === undefined) {
    if (typeof source !== 'string') throw invalidType('source', 'a string', source)
    checkSourceLimits(properties)
    return
  }
  const { job, keys } = propertiesOf('manifest', manifest)
  if (typeof job !== 'string') throw invalidType('manifest.job', 'a string', job)
  if (Array.isArray(keys) && keys.every(each => typeof each === 'string')) return
  throw invalidType('manifest.keys', 'an array of strings', keys)
}

/** @throws TypeError or RangeError */
export function checkSourceLimits(limits: Readonly<Record<keyof JobSourceLimits, unknown>>): void {
  checkInteger('sourceIdleTimeout', limits.sourceIdleTimeout, 1, MAX_TIMEOUT_MS)
  checkInteger('sourceTimeout', limits.sourceTimeout, 1, MAX_TIMEOUT_MS)
}

function propertiesOf(name: string, value: unknown): Readonly<Record<string, unknown>> {
  checkObject(name, value)
  return value as Readonly<Record<string, unknown>> // an object, as just checked
}

/** Returns whether a job, whose data may not have been checked, writes the manifest of a flow. */
export function isManifestData(data: unknown): data is ManifestData {
  return typeof data === 'object' && data !== null && 'manifest' in data
}
