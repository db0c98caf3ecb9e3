/** If-Match and the other conditional headers. Compares ETags without quotes, times by the second. */
import type { HeaderMap } from '../http/headers.js'
import { OssError } from '../oss-error.js'
import type { ObjectRecord } from '../store/record.js'

/**
 * Checks the conditional headers; throws 412 PreconditionFailed.
 *
 * @param prefix – '' for reads, `x-oss-copy-source-` for the source of a copy
 * @returns 'unmodified' if the client already has the object
 */
export function checkConditions(
  headers: HeaderMap,
  record: ObjectRecord,
  prefix = '',
): 'modified' | 'unmodified' {
  const modified = Math.floor(Date.parse(record.modified) / 1000) * 1000
  const match = headers.get(`${prefix}if-match`)
  const noneMatch = headers.get(`${prefix}if-none-match`)
  const since = parseHttpTime(headers.get(`${prefix}if-modified-since`))
  const unmodifiedSince = parseHttpTime(headers.get(`${prefix}if-unmodified-since`))
  if (match !== undefined && !matchesEtag(match, record.etag)) throw preconditionFailed('If-Match')
  if (unmodifiedSince !== undefined && modified > unmodifiedSince)
    throw preconditionFailed('If-Unmodified-Since')
  if (noneMatch !== undefined && matchesEtag(noneMatch, record.etag)) return 'unmodified'
  if (since !== undefined && modified <= since) return 'unmodified'
  return 'modified'
}

/** Names the condition without the prefix of a copy, as the service does. */
function preconditionFailed(condition: string): OssError {
  return new OssError('PreconditionFailed', { extra: { Condition: condition } })
}

function matchesEtag(header: string, etag: string): boolean {
  return header.split(',').some(one => {
    const bare = one.trim().replace(/^"|"$/g, '')
    return bare === '*' || bare === etag
  })
}

function parseHttpTime(header: string | undefined): number | undefined {
  const time = Date.parse(header ?? '')
  return Number.isNaN(time) ? undefined : time
}
