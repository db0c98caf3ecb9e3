/** The `expect` option, and its comparison with the bytes of the source. */

/** Expected size and digests of the source's bytes, checked before anything is published: the option `expect`. */
export interface Expectation {
  /** Number of bytes. */
  readonly bytes?: number
  /** MD5 in hex, either case. */
  readonly md5?: string
  /** SHA-256 in hex, either case. */
  readonly sha256?: string
  /** CRC64 as an unsigned decimal, as OSS returns it. */
  readonly crc64?: string
}

/** The bytes of a source, as far as they are known. */
export interface SourceBytes {
  readonly size: number
  readonly crc64: string | bigint
  readonly md5?: string | undefined
  readonly sha256?: string | undefined
}

/** Returns a text about the first of `size` and `expect` that differs from `source`, or `undefined`. */
export function firstMismatch(
  { size, expect }: { readonly size: number | undefined; readonly expect: Expectation },
  source: SourceBytes,
): string | undefined {
  const all = [['bytes', size] as const, ...NAMES.map(name => [name, expect[name]] as const)]
  const found = { ...source, bytes: source.size }
  for (const [name, expected] of all) {
    if (expected === undefined || found[name] === undefined) continue
    if (String(found[name]) === String(expected).toLowerCase()) continue
    return `${name} of the source is ${found[name]}, expected ${expected}`
  }
  return undefined
}

const NAMES = ['bytes', 'md5', 'sha256', 'crc64'] as const
