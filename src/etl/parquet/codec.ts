/** Compression codecs of Parquet pages. Snappy is part of `hyparquet-writer`; the others are part of Node. */
import * as zlib from 'node:zlib'
import type { ParquetWriteOptions } from 'hyparquet-writer'
import type { ParquetCodec } from './options.js'

/** The part of `node:zlib` that exists from Node 22.15 on; we compile against the types of Node 20. */
const { zstdCompressSync } = zlib as { zstdCompressSync?: (bytes: Uint8Array) => Uint8Array }

/** Names of the codecs in Parquet files. */
const CODEC_NAMES = {
  snappy: 'SNAPPY',
  gzip: 'GZIP',
  zstd: 'ZSTD',
  none: 'UNCOMPRESSED',
} as const satisfies Readonly<Record<ParquetCodec, ParquetWriteOptions['codec']>>

/** Codec options of `hyparquet-writer`. */
export type CodecOptions = Pick<ParquetWriteOptions, 'codec' | 'compressors'>

export function isKnownCodec(codec: unknown): codec is ParquetCodec {
  return typeof codec === 'string' && Object.hasOwn(CODEC_NAMES, codec)
}

/** Returns whether this version of Node has the codec. */
export function isCodecSupported(codec: ParquetCodec): boolean {
  return codec !== 'zstd' || zstdCompressSync !== undefined
}

export function codecOptions(codec: ParquetCodec): CodecOptions {
  const zstd = zstdCompressSync === undefined ? {} : { ZSTD: zstdCompressSync }
  const compressors = { GZIP: (bytes: Uint8Array) => zlib.gzipSync(bytes), ...zstd }
  return { codec: CODEC_NAMES[codec], compressors }
}
