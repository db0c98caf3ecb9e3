/** Compression formats of Node's zlib, their levels, and new compressors and decompressors. */
import type { Duplex } from 'node:stream'
import * as zlib from 'node:zlib'

/** A compression format of Node's zlib. `'zstd'` needs Node 22.15. */
export type CompressionFormat = 'gzip' | 'zstd'

/** Format and level of a built-in compressor. */
export interface Compression {
  /** Format of the compressed bytes. */
  readonly format: CompressionFormat
  /** Level: 1 to 9 for gzip, 1 to 22 for zstd. Default: the one of the format. */
  readonly level?: number
}

/** Levels of one format. */
export interface CompressionLevels {
  readonly min: number
  readonly max: number
  readonly default: number
}

/** Levels of each format, as their command line tools have them. */
export const COMPRESSION_LEVELS: Readonly<Record<CompressionFormat, CompressionLevels>> = {
  gzip: { min: 1, max: 9, default: 6 },
  zstd: { min: 1, max: 22, default: 3 },
}

/** The part of `node:zlib` that exists from Node 22.15 on; we compile against the types of Node 20. */
const { createZstdCompress, createZstdDecompress, constants } = zlib as {
  createZstdCompress?: (options: { params: Record<number, number> }) => Duplex
  createZstdDecompress?: () => Duplex
  constants: { ZSTD_c_compressionLevel?: number }
}

/** Returns whether this version of Node can compress in `format`. */
export function isCompressionSupported(format: CompressionFormat): boolean {
  return format === 'gzip' || createZstdCompress !== undefined
}

/** @throws Error if this version of Node does not support the format */
export function createCompressor({ format, level }: Compression): Duplex {
  if (format === 'gzip') return zlib.createGzip(level === undefined ? {} : { level })
  const { ZSTD_c_compressionLevel: levelKey } = constants
  if (createZstdCompress === undefined || levelKey === undefined) {
    throw new Error(`Node ${process.version} does not support zstd`)
  }
  return createZstdCompress({ params: level === undefined ? {} : { [levelKey]: level } })
}

/** Returns a decompressor, or `undefined` if this version of Node does not support the format. */
export function createDecompressor(format: CompressionFormat): Duplex | undefined {
  return format === 'gzip' ? zlib.createGunzip() : createZstdDecompress?.()
}
