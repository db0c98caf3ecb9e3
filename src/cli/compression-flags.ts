/** Checks `--gzip` and `--zstd`. */
import {
  isCompressionSupported,
  type Compression,
  type CompressionFormat,
} from '../util/compression.js'
import { toFlag } from './command-words.js'
import { UsageError } from './exit-status.js'

/** Parsed flags. A configured format is `false` if a variable switches it off. */
export interface CompressionFlags {
  /** Level, the default one if the flag had none. */
  readonly gzip?: number | false
  readonly zstd?: number | false
}

const FORMATS: readonly CompressionFormat[] = ['gzip', 'zstd']

/**
 * Returns how the flags compress, or `undefined` if they do not.
 * @throws UsageError for both formats, and for a format that this Node does not have
 */
export function toCompression(flags: CompressionFlags): Compression | undefined {
  const [compression, other] = FORMATS.flatMap(format => {
    const level = flags[format]
    return level === undefined || level === false ? [] : [{ format, level }]
  })
  if (compression === undefined) return undefined
  const { format } = compression
  if (other !== undefined) {
    throw new UsageError(`${toFlag(format)} and ${toFlag(other.format)} cannot be combined`)
  }
  if (isCompressionSupported(format)) return compression
  throw new UsageError(
    `${toFlag(format)} needs Node 22.15, or 23.8 of Node 23: Node ${process.version} has no ${format}`,
  )
}
