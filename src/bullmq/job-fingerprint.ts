/**
 * The fingerprint of a job. It is stored with the object, so that a job that runs again recognises its object even if
 * Redis has lost everything about it. Contains the upload id: two jobs never take each other's object for their own.
 */
import { createHash } from 'node:crypto'
import { isManifestData } from './job-data.js'
import type { JobData } from './job.js'

/** Returns the fingerprint of the job with this upload id, in hex. The order of properties has no influence. */
export function jobFingerprint(uploadId: string, data: JobData): string {
  const { key, upload } = data
  const content = isManifestData(data)
    ? { manifest: data.manifest }
    : { source: data.source, args: data.args }
  const text = JSON.stringify({ uploadId, key, upload, ...content }, withSortedProperties)
  return createHash('sha256').update(text).digest('hex')
}

/** Replacer of `JSON.stringify()`. */
function withSortedProperties(_name: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value
  return Object.fromEntries(Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1)))
}
