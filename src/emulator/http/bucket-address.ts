/**
 * Resolves the bucket and key of a request. On the service the bucket is the first label of the host; on
 * a developer's machine it may also be the first segment of the path. If host and path are ambiguous,
 * both addresses are returned, the likelier first, and the signature decides. It covers bucket and key,
 * so only the address that the client meant can verify.
 */
import { isIP } from 'node:net'
import { OssError } from '../oss-error.js'
import { percentDecode } from './request-target.js'

/** Target of a request: an object, a bucket (no key), or the service (neither). */
export interface Address {
  readonly bucket: string | undefined
  readonly key: string | undefined
}

/** Settings for resolving addresses. */
export interface AddressSettings {
  /** Host names (lower case) mapped to buckets, like a CNAME. */
  readonly cnames: Readonly<Record<string, string>>
}

/** Returns all possible addresses of `host` and the raw `path`, the likeliest first; never empty. */
export function candidateAddresses(
  host: string,
  path: string,
  settings: AddressSettings,
): [Address, ...Address[]] {
  const name = normalizeHost(host)
  const cnameBucket = Object.hasOwn(settings.cnames, name) ? settings.cnames[name] : undefined
  if (cnameBucket !== undefined) return [virtualHostedAddress(cnameBucket, path)]
  if (name === '' || name === 'localhost' || isIP(name) !== 0 || !name.includes('.'))
    return [pathStyleAddress(path)]
  const [, label, domain] = /^([^.]*)\.(.*)$/.exec(name) ?? []
  const isServiceDomain = /^(vpc100-)?oss[a-z0-9-]*\.aliyuncs\.com$|^aliyuncs\.com$/.test(
    domain ?? '',
  )
  if (/^(vpc100-)?oss[a-z0-9-]*\.aliyuncs\.com$/.test(name)) return [pathStyleAddress(path)]
  if (label === '') return [pathStyleAddress(path)] // ali-oss' listBuckets() on an IP endpoint: ".oss-..."
  const virtualHosted = virtualHostedAddress(label ?? '', path)
  // ali-oss with an IP endpoint and sldEnable names the bucket in both
  if (isServiceDomain || domain === 'localhost') {
    const pathStyle = pathStyleAddress(path)
    return pathStyle.bucket === virtualHosted.bucket ? [virtualHosted, pathStyle] : [virtualHosted]
  }
  return [virtualHosted, pathStyleAddress(path)]
}

/** Returns the host in lower case, without port and brackets. */
export function normalizeHost(host: string): string {
  const bracketed = /^\[([^\]]*)\]/.exec(host)
  return (bracketed?.[1] ?? host.replace(/:\d*$/, '')).toLowerCase()
}

function virtualHostedAddress(bucket: string, path: string): Address {
  return { bucket, key: decodeKey(path.slice(1)) }
}

function pathStyleAddress(path: string): Address {
  const slash = path.indexOf('/', 1)
  const bucket = slash === -1 ? path.slice(1) : path.slice(1, slash)
  if (bucket === '') return { bucket: undefined, key: undefined }
  return {
    bucket: percentDecode(bucket) ?? bucket,
    key: slash === -1 ? undefined : decodeKey(path.slice(slash + 1)),
  }
}

// The service decodes a plus in a path as a space: the Go SDK encodes spaces that way, and all official
// clients send a plus as %2B.
function decodeKey(raw: string): string | undefined {
  if (raw === '') return undefined
  const key = percentDecode(raw.replaceAll('+', ' '))
  if (key === undefined) throw new OssError('InvalidObjectName')
  return key
}
