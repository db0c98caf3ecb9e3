/** `oss://BUCKET/KEY` as people write it. */
import { checkKey } from '../upload/options.js'
import { UsageError } from './exit-status.js'

/** @throws UsageError, SpoolError `ERR_SPOOL_INVALID_KEY` */
export function parseTarget(text: string): { bucket: string; key: string } {
  const match = /^oss:\/\/([^/]+)\/(.*)$/s.exec(text)
  const [, bucket, key] = match ?? []
  if (bucket === undefined || key === undefined) {
    throw new UsageError(`Expected oss://BUCKET/KEY, got "${text}"`)
  }
  if (!/^[a-z0-9][a-z0-9_-]{1,61}[a-z0-9]$/.test(bucket)) {
    throw new UsageError(`"${bucket}" is no bucket name: 3 to 63 of a-z, 0-9 and hyphens`)
  }
  checkKey(key)
  return { bucket, key }
}
