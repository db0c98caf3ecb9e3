/** Validates the `transform` option and turns it into a factory of fresh streams for each object. */
import type { Duplex } from 'node:stream'
import { checkInteger, checkProperties, invalidType, invalidValue } from '../errors.js'
import {
  COMPRESSION_LEVELS,
  createCompressor,
  isCompressionSupported,
  type Compression,
} from '../util/compression.js'

/**
 * Transform of the bytes of an object: a built-in compressor (`'zstd'` needs Node 22.15), also with a level,
 * such as `{ format: 'gzip', level: 9 }`, or a function that returns one or more new transform streams for each
 * object.
 */
export type ObjectTransform = 'gzip' | 'zstd' | Compression | (() => Duplex | readonly Duplex[])

/**
 * Returns a function that creates the streams of an object, or `undefined` if there are none.
 * @throws TypeError for an unknown name, or one that this version of Node does not support; RangeError for a level
 * that the format does not have
 */
export function transformFactory(
  transform: ObjectTransform | undefined,
): (() => readonly Duplex[]) | undefined {
  if (transform === undefined) return undefined
  const compression = toCompression(transform)
  if (compression !== undefined) {
    const { format } = compression
    if (isCompressionSupported(format)) return () => [createCompressor(compression)]
    const reason = `must not be '${format}', which Node ${process.version} does not support`
    throw invalidValue('transform', reason, transform)
  }
  if (typeof transform !== 'function') {
    const createError = typeof transform === 'string' ? invalidValue : invalidType
    throw createError(
      'transform',
      "must be 'gzip', 'zstd', such a format with a level, or a function that returns streams",
      transform,
    )
  }
  return () => {
    const result: unknown = transform()
    const streams: readonly unknown[] = Array.isArray(result) ? result : [result]
    for (const stream of streams) {
      if (isDuplex(stream)) continue
      throw invalidType('transform', 'a function that returns Node transform streams', stream)
    }
    return streams.filter(isDuplex)
  }
}

function toCompression(transform: unknown): Compression | undefined {
  if (transform === 'gzip' || transform === 'zstd') return { format: transform }
  if (typeof transform !== 'object' || transform === null || !('format' in transform)) {
    return undefined
  }
  checkProperties('transform', transform, { format: true, level: true })
  const { format } = transform
  if (format !== 'gzip' && format !== 'zstd') {
    throw invalidValue('transform.format', "must be 'gzip' or 'zstd'", format)
  }
  const level: unknown = 'level' in transform ? transform.level : undefined
  const { min, max } = COMPRESSION_LEVELS[format]
  checkInteger('transform.level', level, min, max)
  return typeof level === 'number' ? { format, level } : { format }
}

function isDuplex(value: unknown): value is Duplex {
  if (typeof value !== 'object' || value === null) return false
  return 'pipe' in value && 'write' in value && 'read' in value
}
