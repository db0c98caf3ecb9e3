/**
 * Range header with OSS's semantics: a single byte range. A header that is malformed or reaches past the
 * end of the object is ignored and the whole object is returned with 200 (see OSS's page on ranged
 * downloads), unless the client requests HTTP's behaviour with `x-oss-range-behavior: standard`.
 */
import type { ByteSpan } from '../store/stored-body.js'

/**
 * Parses a Range header.
 *
 * @returns the span, 'whole' to ignore the header, or 'unsatisfiable' for 416 (standard behaviour only)
 */
export function parseRange(
  header: string | undefined,
  size: number,
  standard: boolean,
): ByteSpan | 'whole' | 'unsatisfiable' {
  // only the first of several ranges is used
  const [, first, last] = /^bytes=(\d*)-(\d*)(?:,.*)?$/.exec(header?.trim() ?? '') ?? []
  if (first === undefined || last === undefined || (first === '' && last === '')) return 'whole'
  const fromEnd = first === ''
  const offset = fromEnd ? Math.max(size - Number(last), 0) : Number(first)
  const end = fromEnd || last === '' ? size - 1 : Number(last)
  if (!fromEnd && end < offset && last !== '') return 'whole'
  const inside = offset < size && end < size && (!fromEnd || Number(last) <= size)
  if (inside && end >= offset) return { offset, length: end - offset + 1 }
  if (!standard) return 'whole'
  return offset < size ? { offset, length: size - offset } : 'unsatisfiable'
}
