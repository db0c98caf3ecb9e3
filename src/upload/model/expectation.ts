/** What a caller expects of the bytes, and whether they meet it. */

/** What must hold of the source's bytes, checked before the seal. */
export interface Expectation {
  /** Number of bytes. */
  readonly bytes?: number
  /** Hex, either case. */
  readonly md5?: string
  /** Hex, either case. */
  readonly sha256?: string
  /** Unsigned decimal, as OSS writes it. */
  readonly crc64?: string
}

/** The first of `size` and `expect` that the bytes do not meet, in words. */
export function firstMismatch(
  { size, expect }: { readonly size: number | undefined; readonly expect: Expectation },
  found: { [K in keyof Expectation]: Expectation[K] | undefined },
): string | undefined {
  const all = [['bytes', size] as const, ...NAMES.map(name => [name, expect[name]] as const)]
  for (const [name, expected] of all) {
    if (expected === undefined || found[name] === undefined) continue
    if (String(found[name]) === String(expected).toLowerCase()) continue
    return `${name} of the source is ${found[name]}, ${expected} was expected`
  }
  return undefined
}

const NAMES = ['bytes', 'md5', 'sha256', 'crc64'] as const
