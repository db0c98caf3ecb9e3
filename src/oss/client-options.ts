/**
 * The `client` option: an `ali-oss` client, or the options to create one. Settings and credentials are read
 * from it. It is never modified, and reading it does not load `ali-oss`.
 */
import { invalidType, invalidValue } from '../errors.js'
import {
  staticCredentials,
  RefreshingCredentials,
  type Credentials,
  type CredentialSource,
  type CredentialsProvider,
} from './credentials.js'
import { SecretMask } from '../util/secret-mask.js'
import type { Place, PlaceChange } from './bucket.js'
import type { Agents, CertificateAuthorities } from './transport.js'

/** Options of an `ali-oss` client, as in `ali-oss`, except that `secure` and `authorizationV4` are true by default. */
export interface ClientOptions {
  /** Access key id. Required together with `accessKeySecret`, unless `credentials` is set. */
  readonly accessKeyId?: string
  /** Secret of `accessKeyId`. */
  readonly accessKeySecret?: string
  /** Session token of temporary keys, which are not renewed. Prefer `credentials`. */
  readonly stsToken?: string
  /** Fetches temporary credentials, before they expire and when OSS rejects them. */
  readonly credentials?: CredentialsProvider
  /** Region such as `oss-cn-hangzhou` or `cn-hangzhou`. Part of every V4 signature. */
  readonly region?: string
  /** Host name or URL to use instead of the region's endpoint. */
  readonly endpoint?: string
  /** Bucket to upload to. */
  readonly bucket?: string
  /** Use the region's internal endpoint, for machines inside Alibaba Cloud. Default `false`. */
  readonly internal?: boolean
  /** Use HTTPS. Default `true` (in `ali-oss`: `false`). */
  readonly secure?: boolean
  /** Use V4 signatures. Default `true` (in `ali-oss`: `false`). */
  readonly authorizationV4?: boolean
  /** The endpoint, which is then required, is the bucket's own domain name. Default `false`. */
  readonly cname?: boolean
  /** Put the bucket name in the path, for servers other than OSS. Default `false`. */
  readonly sldEnable?: boolean
  /** The requester pays, in buckets configured for it. Default `false`. */
  readonly isRequestPay?: boolean
  /** PEM certificates to trust instead of Node's default list, such as the CA of a private OSS or proxy. */
  readonly ca?: string | Buffer | readonly (string | Buffer)[]
  /**
   * Node agent for `http:` endpoints. Takes precedence over `ca` and over proxies from the environment. The
   * caller remains responsible for closing it.
   */
  readonly agent?: Agents['http']
  /** Node agent for `https:` endpoints, with the same rules as `agent`. */
  readonly httpsAgent?: Agents['https']
}

/** An instance of `ali-oss`. Only its untyped `options` are read. */
export interface AliOssClient {
  /** Distinguishes a client from its options; never called. */
  multipartUpload(...parameters: never[]): Promise<unknown>
  /** Never called. */
  putBucket(...parameters: never[]): Promise<unknown>
}

/** Settings for signing and sending requests: everything except the place. */
export interface ClientSettings {
  readonly credentials: CredentialSource
  /** Masks the credentials of all requests so far. */
  readonly secrets: SecretMask
  readonly authorizationV4: boolean
  readonly isRequestPay: boolean
  readonly agents: Partial<Agents>
  readonly ca: CertificateAuthorities | undefined
}

/** Options inside an `ali-oss` client. Same as `ClientOptions`, but the endpoint is a parsed URL. */
type AliOssClientOptions = Omit<ClientOptions, 'endpoint'> & {
  readonly refreshSTSToken?: CredentialsProvider | null
  /** Interval in ms; default 5 minutes. */
  readonly refreshSTSTokenInterval?: number
  readonly endpoint?: string | { readonly protocol: string; readonly host: string } | null
}

/**
 * Splits `client` into settings and a place.
 * @throws TypeError if it is neither a client nor usable options
 */
export function readClient(client: AliOssClient | ClientOptions): {
  settings: ClientSettings
  place: Omit<Place, 'bucket'> & { bucket?: string }
} {
  if (typeof client !== 'object' || client === null) {
    throw invalidType('client', 'an ali-oss client or its options', client)
  }
  const isClient = 'multipartUpload' in client
  // The typings of `ali-oss` do not declare the property that holds the options.
  const options: AliOssClientOptions = isClient
    ? (client as unknown as { options: AliOssClientOptions }).options
    : client
  // Keep the defaults of `ali-oss` for a client: V1 signatures and its default region.
  const { authorizationV4 = !isClient, isRequestPay = false, agent, httpsAgent } = options
  const region =
    isClient && options.region === undefined ? 'oss-cn-hangzhou' : regionOf('client', options)
  const endpoint = endpointOf('client', options, region)
  checkDomain('client', endpoint, options)
  return {
    settings: {
      credentials: credentialSource(options),
      secrets: new SecretMask(),
      authorizationV4,
      isRequestPay,
      ca: checkCa(options.ca),
      agents: { ...(agent && { http: agent }), ...(httpsAgent && { https: httpsAgent }) },
    },
    place: {
      endpoint,
      region,
      cname: options.cname ?? false,
      pathStyle: options.sldEnable ?? false,
      ...(options.bucket ? { bucket: options.bucket } : {}),
    },
  }
}

/** @throws TypeError if there are no credentials */
function credentialSource(options: AliOssClientOptions): CredentialSource {
  const { credentials, refreshSTSToken, refreshSTSTokenInterval = 5 * 60_000 } = options
  if (credentials !== undefined) {
    if (typeof credentials === 'function') return new RefreshingCredentials(credentials)
    throw invalidType('client.credentials', 'a function', credentials)
  }
  for (const name of ['accessKeyId', 'accessKeySecret'] as const) {
    if (typeof options[name] !== 'string' || options[name].trim() === '') {
      throw invalidValue(`client.${name}`, 'must be a non-empty string', undefined)
    }
  }
  const read = (): Credentials => ({
    accessKeyId: (options.accessKeyId ?? '').trim(),
    accessKeySecret: (options.accessKeySecret ?? '').trim(),
    ...(options.stsToken ? { stsToken: options.stsToken } : {}),
  })
  if (!options.stsToken || typeof refreshSTSToken !== 'function') return staticCredentials(read)
  // Same as `ali-oss`: use the initial token for one interval, then call the refresh function.
  let first = true
  return new RefreshingCredentials(async () => {
    const keys = first ? read() : await refreshSTSToken()
    first = false
    return { ...keys, expiration: Date.now() + refreshSTSTokenInterval }
  })
}

/** @throws TypeError */
function checkCa(ca: unknown): CertificateAuthorities | undefined {
  const one = (x: unknown): x is string | Buffer => typeof x === 'string' || Buffer.isBuffer(x)
  if (ca === undefined || ca === null) return undefined
  if (one(ca)) return ca
  if (Array.isArray(ca) && ca.every(one)) return ca
  throw invalidType('client.ca', 'a string, a Buffer or an array of them', ca)
}

/** @param name – the option with the region and the endpoint, for errors */
function regionOf(name: string, options: AliOssClientOptions): string {
  if (options.region !== undefined) {
    if (typeof options.region !== 'string' || !/^[a-z0-9-]{1,64}$/.test(options.region)) {
      throw invalidValue(
        `${name}.region`,
        'must be a region such as oss-cn-hangzhou',
        options.region,
      )
    }
    return /^(vpc100-)?oss-/.test(options.region) ? options.region : `oss-${options.region}`
  }
  const { endpoint } = options
  const named = typeof endpoint === 'string' ? regionIn(endpoint) : undefined
  if (named !== undefined) return named
  if (endpoint && options.authorizationV4 === false) return 'oss-cn-hangzhou' // V1 does not sign it
  throw invalidValue(
    `${name}.region`,
    'is required, because it is part of every V4 signature',
    undefined,
  )
}

/** Host names have at most 253 characters (RFC 1035); the rest is for a scheme, a port and a path that is ignored. */
const MAX_ENDPOINT_LENGTH = 1024

/** Returns the region that an endpoint names. Accelerated endpoints serve buckets of all regions. */
function regionIn(endpoint: string): string | undefined {
  if (endpoint.length > MAX_ENDPOINT_LENGTH) return undefined
  const [, region] =
    /(oss-[a-z0-9-]+?)(-internal)?\.aliyuncs\.com/.exec(endpoint.toLowerCase()) ?? []
  return region?.startsWith('oss-accelerate') === true ? undefined : region
}

/** Endpoint of OSS in one region: its scheme, and whether it is the internal one. */
const REGIONAL_ENDPOINT =
  /^(https?:\/\/)(?!oss-accelerate)oss-[a-z0-9-]+?(-internal)?\.aliyuncs\.com$/

/** Domain of OSS in one region, or of its acceleration: a bucket's own domain has one more label in front. */
const SERVICE_DOMAIN = /^(?:([a-z0-9_-]+)\.)?((?:vpc100-)?oss-[a-z0-9-]+\.aliyuncs\.com)$/

/**
 * Rejects endpoints that reach no bucket: of a service instead of a bucket, and the reverse.
 * @throws TypeError
 */
function checkDomain(
  name: string,
  endpoint: string,
  { cname = false, sldEnable = false, endpoint: given }: AliOssClientOptions,
): void {
  if (cname && !given) {
    throw invalidValue(`${name}.endpoint`, `is required by "${name}.cname"`, undefined)
  }
  const [, bucket, service] = SERVICE_DOMAIN.exec(new URL(endpoint).hostname) ?? []
  if (service === undefined) return
  if (sldEnable) {
    const reason = 'must not be set for an endpoint of OSS, which refuses a bucket in the path'
    throw invalidValue(`${name}.sldEnable`, reason, sldEnable)
  }
  if (cname && bucket === undefined) {
    const reason = `must be the own domain of the bucket, because "${name}.cname" is set`
    throw invalidValue(`${name}.endpoint`, reason, endpoint)
  }
  if (!cname && bucket !== undefined) {
    const reason = `must not contain the bucket: use "${service}", or "${name}.cname" for the own domain of a bucket`
    throw invalidValue(`${name}.endpoint`, reason, endpoint)
  }
}

/** Returns the endpoint as `protocol://host[:port]`, a canonical form because it is part of upload ids. */
function endpointOf(name: string, options: AliOssClientOptions, region: string): string {
  const { endpoint, secure = true, internal = false } = options
  if (endpoint && typeof endpoint === 'object') {
    const url = `${endpoint.protocol}//${endpoint.host}`
    if (/^https?:/.test(url) && URL.canParse(url)) return url
    throw invalidType(
      `${name}.endpoint`,
      'a string, or the parsed URL of an ali-oss client',
      endpoint,
    )
  }
  if (endpoint === undefined || endpoint === null) {
    const inside = internal && !region.startsWith('vpc100-oss-cn-') ? '-internal' : ''
    return `http${secure ? 's' : ''}://${region}${inside}.aliyuncs.com`
  }
  if (typeof endpoint !== 'string') throw invalidType(`${name}.endpoint`, 'a string', endpoint)
  return canonicalEndpoint(endpoint, { name, secure })
}

/**
 * Returns an endpoint as it is recorded.
 * @param name – the option with the endpoint, for errors
 * @throws TypeError if it is neither a host name nor a URL
 */
export function canonicalEndpoint(
  endpoint: string,
  { name = 'client', secure = true }: { name?: string; secure?: boolean } = {},
): string {
  if (endpoint.length > MAX_ENDPOINT_LENGTH) {
    const reason = `must have at most ${MAX_ENDPOINT_LENGTH} characters`
    throw invalidValue(`${name}.endpoint`, reason, undefined)
  }
  const text = /^[a-z][a-z0-9+.-]*:\/\//i.test(endpoint)
    ? endpoint
    : `http${secure ? 's' : ''}://${endpoint}`
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (endpoint.includes('@')) {
    // Never repeat a password in an error, not even if the rest is not a valid URL.
    throw invalidValue(`${name}.endpoint`, 'must not contain a user name or password', undefined)
  }
  if (url === undefined || !['http:', 'https:'].includes(url.protocol)) {
    throw invalidValue(`${name}.endpoint`, 'must be a host name or an http(s) URL', endpoint)
  }
  return url.origin
}

/** @throws TypeError unless `bucket` can be the name of a bucket */
export function checkBucketName(name: string, bucket: unknown): void {
  if (typeof bucket !== 'string') throw invalidType(name, 'a string', bucket)
  if (/^[a-z0-9][a-z0-9_-]{1,61}[a-z0-9]$/.test(bucket)) return
  throw invalidValue(name, 'must be a bucket name of 3 to 63 characters', bucket)
}

/** Returns whether `endpoint` is OSS itself, over HTTPS: the service or a bucket's domain there. */
export function isServiceEndpoint(endpoint: string): boolean {
  if (!URL.canParse(endpoint)) return false
  const { protocol, hostname } = new URL(endpoint)
  return protocol === 'https:' && SERVICE_DOMAIN.test(hostname)
}

/**
 * Returns `from` with a change. Another endpoint is read like one of a client; a region alone leads to its public
 * or internal endpoint of OSS, or to the same endpoint if that is no regional one of OSS.
 * @param own – the place of the client, whose settings belong to its endpoint
 * @throws TypeError for an option of `to` that leads to no bucket
 */
export function changePlace(from: Place, change: PlaceChange, own: Omit<Place, 'bucket'>): Place {
  const { bucket = from.bucket } = change
  const place = { ...endpointAfter(from, change, own), bucket }
  if (place.endpoint !== own.endpoint && place.endpoint !== from.endpoint) {
    const { endpoint, cname, pathStyle } = place
    checkDomain('to', endpoint, { endpoint, cname, sldEnable: pathStyle })
  }
  return place
}

function endpointAfter(
  from: Place,
  { endpoint, region, cname }: PlaceChange,
  own: Omit<Place, 'bucket'>,
): Omit<Place, 'bucket'> {
  if (endpoint !== undefined) {
    const named = endpoint === own.endpoint ? endpoint : endpointOf('to', { endpoint }, '')
    const known = [own, from].find(each => each.endpoint === named)
    const base = known ?? { region: regionIn(named) ?? from.region, cname: false, pathStyle: false }
    return {
      region: region === undefined ? base.region : regionOf('to', { region }),
      endpoint: named,
      cname: cname ?? base.cname,
      pathStyle: base.pathStyle,
    }
  }
  const { pathStyle } = from
  if (region === undefined) return { ...from, cname: cname ?? from.cname }
  const name = regionOf('to', { region })
  const regional = from.cname ? null : REGIONAL_ENDPOINT.exec(from.endpoint)
  const target =
    regional === null ? from.endpoint : `${regional[1]}${name}${regional[2] ?? ''}.aliyuncs.com`
  return { endpoint: target, region: name, cname: cname ?? from.cname, pathStyle }
}
