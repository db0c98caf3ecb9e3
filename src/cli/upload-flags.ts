/** Converts the flags of `put` and `run` into options of the library. */
import type { ObjectOptions } from '../oss/object-headers.js'
import type { InternalUploadOptions } from '../upload/model/options.js'
import type { CompressionFlags } from './compression-flags.js'
import { UsageError } from './exit-status.js'
import { quoteHarmless } from '../util/secret-mask.js'
import type { MonitoringFlags } from './monitoring.js'
import type { ProgressFlags } from './progress.js'
import type { SpoolFlags } from './session.js'

export type UploadFlags = SpoolFlags &
  MonitoringFlags &
  ProgressFlags &
  CompressionFlags & {
    readonly id?: string
    readonly partSize?: number
    readonly maxSpool?: number
    readonly parallel?: number | 'auto'
    readonly size?: number
    readonly expectBytes?: number
    readonly expectMd5?: string
    readonly expectSha256?: string
    readonly expectCrc64?: string
    readonly once?: boolean
    readonly noOverwrite?: boolean
    readonly meta?: string[]
    readonly header?: string[]
    readonly contentType?: string
    readonly storageClass?: NonNullable<ObjectOptions['storageClass']>
    readonly acl?: NonNullable<ObjectOptions['acl']>
    readonly tag?: string[]
    readonly retries?: number
    readonly dryRun?: boolean
  }

/**
 * Converts and fully validates the flags.
 * @throws UsageError, TypeError or RangeError if a flag is invalid
 */
export async function toUploadOptions(flags: UploadFlags): Promise<InternalUploadOptions> {
  const { checkOptions } = await import('../upload/model/options.js')
  const { toCompression } = await import('./compression-flags.js')
  const { omitUndefined } = await import('../util/omit-undefined.js')
  const { id, partSize, maxSpool: maxSpoolBytes, parallel, size, once, retries } = flags
  const { storageClass, acl } = flags
  const { expectBytes: bytes, expectMd5: md5, expectSha256: sha256, expectCrc64: crc64 } = flags
  const options = omitUndefined({
    id,
    partSize,
    maxSpoolBytes,
    parallel,
    size,
    once,
    storageClass,
    acl,
    mime: flags.contentType,
    overwrite: flags.noOverwrite === true ? false : undefined,
    retry: retries === undefined ? undefined : { attempts: retries },
    meta: parsePairs('--meta', flags.meta),
    headers: parsePairs('--header', flags.header),
    tags: parsePairs('--tag', flags.tag, name => name),
    compression: toCompression(flags),
    expect: omitUndefined({ bytes, md5, sha256, crc64 }),
  })
  checkOptions(options)
  return options
}

/** @param comparable – maps equivalent names to the same text. By default, upper and lower case are equivalent */
function parsePairs(
  flag: string,
  values: readonly string[] | undefined,
  comparable = (name: string) => name.toLowerCase(),
): Record<string, string> | undefined {
  if (values === undefined) return undefined
  const names = new Set<string>()
  return Object.fromEntries(
    values.map(value => {
      const separatorIndex = value.indexOf('=')
      if (separatorIndex < 1)
        throw new UsageError(`Expected ${flag} NAME=VALUE, got ${quoteHarmless(value)}`)
      const name = value.slice(0, separatorIndex)
      if (names.has(comparable(name)))
        throw new UsageError(`${flag} has two values for ${quoteHarmless(name)}`)
      names.add(comparable(name))
      return [name, value.slice(separatorIndex + 1)]
    }),
  )
}
