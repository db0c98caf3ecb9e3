/**
 * Framing of requests. ali-oss sends Content-Length together with chunked encoding for a stream with a given length,
 * which OSS accepts and Node's strict parser refuses. The server therefore parses leniently, and the other checks of
 * the strict parser are made here.
 */
import type { IncomingMessage } from 'node:http'

/** Excludes a space before the colon, with which the lenient parser reads a header that its other checks miss. */
const HEADER_NAME = /^[\w!#$%&'*+.^`|~-]+$/

/** Returns whether a request has a length and chunks. Where it ends is ambiguous, so it must be the last one of its connection. */
export function hasAmbiguousLength({ headers }: IncomingMessage): boolean {
  return headers['content-length'] !== undefined && headers['transfer-encoding'] !== undefined
}

/** Returns whether the strict parser would accept the request, apart from an ambiguous length, and it names one Host at most. */
export function isWellFormed({ headers, httpVersion, rawHeaders }: IncomingMessage): boolean {
  const encoding = headers['transfer-encoding']
  if (encoding !== undefined && encoding.trim().toLowerCase() !== 'chunked') return false
  const names = rawHeaders.filter((_, i) => i % 2 === 0)
  if (!names.every(name => HEADER_NAME.test(name))) return false
  if (names.filter(name => name.toLowerCase() === 'host').length > 1) return false
  // oxlint-disable-next-line no-control-regex -- control characters are matched on purpose
  if (rawHeaders.some(text => /[\u0000-\u0008\u000a-\u001f\u007f]/.test(text))) return false
  return httpVersion === '1.1' || httpVersion === '1.0'
}
