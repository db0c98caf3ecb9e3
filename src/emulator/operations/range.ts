/**
 * The Range header as OSS reads it: one range of bytes. What is no range, or reaches past the
 * object's end, is ignored and the whole object comes with 200 (its page on ranged downloads),
 * unless the client asks for the behaviour of HTTP with `x-oss-range-behavior: standard`.
 */
import type { ByteSpan } from '../store/body.js'

/** @returns the span; 'whole' to ignore the header; 'unsatisfiable' for 416, in standard behaviour only */
export function parseRange(
  header: string | undefined,
  size: number,
  standard: boolean,
): ByteSpan | 'whole' | 'unsatisfiable' {
  // of several ranges the first counts
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
