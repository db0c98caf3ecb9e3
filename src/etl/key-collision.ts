/**
 * Errors of an object whose key is taken. Replacing the other object would lose the records in it, so the hints
 * propose keys that no other job uses. A success marker has no records.
 */
import { SpoolError, type SpoolErrorDetails } from '../errors.js'
import type { RotateSettings } from './options.js'
import { manifestUploadId, objectUploadId, successMarkerUploadId } from './upload-ids.js'

type CollidingJob = Pick<
  RotateSettings<never>,
  'job' | 'keyTemplate' | 'isManifestPerJob' | 'deadLetter' | 'commit'
>

/** Replaces the hint of an upload that found its key taken. Returns other errors unchanged. */
export function explainCollision(error: unknown, settings: CollidingJob): unknown {
  const isCollision =
    error instanceof SpoolError && error.code === 'ERR_SPOOL_OBJECT_EXISTS' && error.id !== ''
  if (!isCollision) return error
  const { id, part, uploadId, requestId, host, status, ossCode, cause } = error
  const hint = collisionHint(id, settings)
  const details = { id, part, uploadId, requestId, host, status, ossCode, cause, hint }
  const explained = new SpoolError(error.code, error.message, details)
  if (error.stack !== undefined) explained.stack = error.stack
  return explained
}

/** @param id – id of the upload whose bytes are kept on the disk */
function collisionHint(id: string, settings: CollidingJob): NonNullable<SpoolErrorDetails['hint']> {
  const { job, commit } = settings
  if (commit !== undefined) {
    return say =>
      `Use a new job name for every run, such as one with its start time. The committed bytes are kept. To publish them under a free key, ${say.resume(id, { to: 'key' })}.`
  }
  if (id === successMarkerUploadId(job)) {
    return `Call spool.resume('${id}', { force: true }), which replaces only a success marker, and run the job again.`
  }
  const { option, isPerJob } = templateOf(id, settings)
  const step = isPerJob
    ? `Use a new job name, or run the job "${job}" with the spool directory of its earlier run.`
    : `Add {job} to the option "${option}", so that no other job uses the same key, and run the job again with all its records.`
  return `${step} Then call spool.abort('${id}') to discard the bytes that are kept here.`
}

/** Returns the option that decides the key of an upload, and whether that contains the name of the job. */
function templateOf(
  id: string,
  { job, keyTemplate, isManifestPerJob, deadLetter }: CollidingJob,
): { option: string; isPerJob: boolean } {
  if (id === manifestUploadId(job)) return { option: 'manifest', isPerJob: isManifestPerJob }
  if (deadLetter !== undefined && id === objectUploadId(job, deadLetter.key)) {
    return { option: 'deadLetter.key', isPerJob: deadLetter.isPerJob }
  }
  return { option: 'key', isPerJob: keyTemplate.placeholders.has('job') }
}
