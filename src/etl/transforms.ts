/** Transforms by name or by function, for each object anew: what is wrong with them is said at the start. */
import type { Duplex } from 'node:stream'
import * as zlib from 'node:zlib'
import { invalidType, invalidValue } from '../errors.js'

/** What an object's bytes go through: a name, or a function that makes fresh streams for one object. */
export type ObjectTransform = 'gzip' | 'zstd' | (() => Duplex | readonly Duplex[])

/** @throws TypeError for a name that this Node does not know */
export function transformFactory(transform: ObjectTransform | undefined): () => readonly Duplex[] {
  if (transform === undefined) return () => []
  if (transform === 'gzip') return () => [zlib.createGzip()]
  if (transform === 'zstd') {
    // Node has it from 22.15 on; the types are those of Node 20.
    const { createZstdCompress } = zlib as { createZstdCompress?: () => Duplex }
    if (createZstdCompress !== undefined) return () => [createZstdCompress()]
    throw invalidValue(
      'transform',
      `must not be 'zstd': Node ${process.version} has none`,
      transform,
    )
  }
  if (typeof transform !== 'function') {
    const createError = typeof transform === 'string' ? invalidValue : invalidType
    throw createError(
      'transform',
      "must be 'gzip', 'zstd' or a function that makes streams",
      transform,
    )
  }
  return () => {
    const result: unknown = transform()
    const streams: readonly unknown[] = Array.isArray(result) ? result : [result]
    for (const stream of streams) {
      if (isDuplex(stream)) continue
      throw invalidType('transform', 'a function that makes Node transform streams', stream)
    }
    return streams.filter(isDuplex)
  }
}

function isDuplex(value: unknown): value is Duplex {
  if (typeof value !== 'object' || value === null) return false
  return 'pipe' in value && 'write' in value && 'read' in value
}
