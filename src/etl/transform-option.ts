/** Validates the `transform` option and turns it into a factory of fresh streams for each object. */
import type { Duplex } from 'node:stream'
import { invalidType, invalidValue } from '../errors.js'
import { createCompressor, isCompressionSupported } from '../util/compression.js'

/**
 * Transform of the bytes of an object: a built-in compressor (`'zstd'` needs Node 22.15), or a function that
 * returns one or more new transform streams for each object.
 */
export type ObjectTransform = 'gzip' | 'zstd' | (() => Duplex | readonly Duplex[])

/** @throws TypeError for an unknown name, or one that this version of Node does not support */
export function transformFactory(transform: ObjectTransform | undefined): () => readonly Duplex[] {
  if (transform === undefined) return () => []
  if (transform === 'gzip' || transform === 'zstd') {
    const format = transform
    if (isCompressionSupported(format)) return () => [createCompressor({ format })]
    const reason = `must not be '${format}', which Node ${process.version} does not support`
    throw invalidValue('transform', reason, transform)
  }
  if (typeof transform !== 'function') {
    const createError = typeof transform === 'string' ? invalidValue : invalidType
    throw createError(
      'transform',
      "must be 'gzip', 'zstd' or a function that returns streams",
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

function isDuplex(value: unknown): value is Duplex {
  if (typeof value !== 'object' || value === null) return false
  return 'pipe' in value && 'write' in value && 'read' in value
}
