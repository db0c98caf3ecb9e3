/** Upload ids of a job. They are equal in every run that may finish the upload, and readable in `oss-spool ls`. */
import { createHash } from 'node:crypto'

/** Returns the upload id of a job's manifest. */
export function manifestUploadId(job: string): string {
  return `${job}-manifest`
}

/** Returns the upload id of a job's success marker. */
export function successMarkerUploadId(job: string): string {
  return `${job}-success`
}

/**
 * Returns the upload id of an object.
 * @param run – equal in every run of the job that may finish the upload; empty if all may
 */
export function objectUploadId(job: string, key: string, run = ''): string {
  const name = key.slice(key.lastIndexOf('/') + 1).replace(/[^A-Za-z0-9_-]+/g, '-')
  const hash = createHash('sha256').update(run).update(key).digest('hex')
  return `${job}-${name.slice(-32)}-${hash.slice(0, 24)}`
}
