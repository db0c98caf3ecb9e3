/**
 * What a caller gives us to reach OSS: an `ali-oss` client or the options to make one. It is a
 * source of settings and credentials and is never changed; `ali-oss` itself is not loaded for it.
 */
import { invalidType, invalidValue } from '../errors.js'
import {
  staticCredentials,
  RefreshingCredentials,
  type Credentials,
  type CredentialSource,
  type CredentialsProvider,
} from './credentials.js'
import type { Place } from './bucket.js'
import type { Agents, CertificateAuthorities } from './transport.js'

/** The options of `ali-oss` that matter here, with its names and defaults but for two. */
export interface ClientOptions {
  /** With `accessKeySecret`; or `credentials`. */
  readonly accessKeyId?: string
  /** The secret of `accessKeyId`. */
  readonly accessKeySecret?: string
  /** Of temporary keys, which are not renewed: better `credentials`. */
  readonly stsToken?: string
  /** Fetches temporary credentials, ahead of their expiry and when OSS refuses them. */
  readonly credentials?: CredentialsProvider
  /** `oss-cn-hangzhou`, ... Part of every V4 signature. */
  readonly region?: string
  /** Takes the place of the region's own. */
  readonly endpoint?: string
  /** Where uploads go. */
  readonly bucket?: string
  /** The region's endpoint for machines inside Alibaba Cloud. Default `false`. */
  readonly internal?: boolean
  /** HTTPS. Default `true` (in `ali-oss`: `false`). */
  readonly secure?: boolean
  /** Default `true` (in `ali-oss`: `false`). */
  readonly authorizationV4?: boolean
  /** The endpoint is the bucket's own domain name. */
  readonly cname?: boolean
  /** Bucket in the path, for servers that are not OSS. */
  readonly sldEnable?: boolean
  /** Whoever asks pays, in buckets that are set up so. Default `false`. */
  readonly isRequestPay?: boolean
  /** PEM certificates to trust instead of Node's own list: the CA of a private OSS or proxy. */
  readonly ca?: string | Buffer | readonly (string | Buffer)[]
  /**
   * Node's agent for `http:` endpoints. It wins over `ca` and over proxies of the environment, and stays
   * the caller's to close.
   */
  readonly agent?: Agents['http']
  /** The same for `https:` endpoints. */
  readonly httpsAgent?: Agents['https']
}

/** An instance of `ali-oss`; what we read of it is in its untyped `options`. */
export interface AliOssClient {
  /** What tells it from options; never called. */
  multipartUpload(...parameters: never[]): Promise<unknown>
  /** Never called. */
  putBucket(...parameters: never[]): Promise<unknown>
}

/** Everything but the place: how requests are signed and sent. */
export interface ClientSettings {
  readonly credentials: CredentialSource
  readonly authorizationV4: boolean
  readonly isRequestPay: boolean
  readonly agents: Partial<Agents>
  readonly ca: CertificateAuthorities | undefined
}

/** The options inside an `ali-oss` client: ours, but its endpoint is a parsed URL. */
type AliOssClientOptions = Omit<ClientOptions, 'endpoint'> & {
  readonly refreshSTSToken?: CredentialsProvider | null
  /** ms; 5 minutes unless given. */
  readonly refreshSTSTokenInterval?: number
  readonly endpoint?: string | { readonly protocol: string; readonly host: string } | null
}

/**
 * Splits `client` into settings and the place it names.
 * @throws TypeError when it is neither a client nor usable options.
 */
export function readClient(client: AliOssClient | ClientOptions): {
  settings: ClientSettings
  place: Omit<Place, 'bucket'> & { bucket?: string }
} {
  if (typeof client !== 'object' || client === null) {
    throw invalidType('client', 'an ali-oss client or its options', client)
  }
  const isClient = 'multipartUpload' in client
  // An ali-oss client keeps its options in a property that its typings do not declare.
  const options: AliOssClientOptions = isClient
    ? (client as unknown as { options: AliOssClientOptions }).options
    : client
  // A client signs as ali-oss does by itself: V1, and with its default region.
  const { authorizationV4 = !isClient, isRequestPay = false, agent, httpsAgent } = options
  const region = isClient && options.region === undefined ? 'oss-cn-hangzhou' : regionOf(options)
  return {
    settings: {
      credentials: credentialSource(options),
      authorizationV4,
      isRequestPay,
      ca: checkCa(options.ca),
      agents: { ...(agent && { http: agent }), ...(httpsAgent && { https: httpsAgent }) },
    },
    place: {
      endpoint: endpointOf(options, region),
      region,
      cname: options.cname ?? false,
      pathStyle: options.sldEnable ?? false,
      ...(options.bucket ? { bucket: options.bucket } : {}),
    },
  }
}

/** @throws TypeError when there is nothing to sign with */
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
  // As ali-oss: the token it was made with is good for one interval, then its function is asked.
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

function regionOf(options: AliOssClientOptions): string {
  if (options.region !== undefined) {
    if (typeof options.region !== 'string' || !/^[a-z0-9-]{1,64}$/.test(options.region)) {
      throw invalidValue(
        'client.region',
        'must be a region such as oss-cn-hangzhou',
        options.region,
      )
    }
    return options.region
  }
  const endpoint = options.endpoint
  const named =
    typeof endpoint === 'string'
      ? /(oss-[a-z0-9-]+?)(-internal)?\.aliyuncs\.com/.exec(endpoint.toLowerCase())
      : null
  // The accelerated endpoints serve buckets of all regions.
  if (named?.[1] !== undefined && !named[1].startsWith('oss-accelerate')) return named[1]
  if (endpoint && options.authorizationV4 === false) return 'oss-cn-hangzhou' // V1 does not sign it
  throw invalidValue('client.region', 'must be given: it is part of every V4 signature', undefined)
}

/** The endpoint in one canonical form, since it is a part of ids: `protocol://host[:port]`. */
function endpointOf(options: AliOssClientOptions, region: string): string {
  const { endpoint, secure = true, internal = false } = options
  if (endpoint && typeof endpoint === 'object') return `${endpoint.protocol}//${endpoint.host}`
  if (endpoint === undefined || endpoint === null) {
    const inside = internal && !region.startsWith('vpc100-oss-cn-') ? '-internal' : ''
    return `http${secure ? 's' : ''}://${region}${inside}.aliyuncs.com`
  }
  if (typeof endpoint !== 'string') throw invalidType('client.endpoint', 'a string', endpoint)
  const text = /^[a-z][a-z0-9+.-]*:\/\//i.test(endpoint)
    ? endpoint
    : `http${secure ? 's' : ''}://${endpoint}`
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (endpoint.includes('@')) {
    // A password is never repeated in an error, also when the rest makes no URL.
    throw invalidValue('client.endpoint', 'must not hold a user name or a password', undefined)
  }
  if (url === undefined || !['http:', 'https:'].includes(url.protocol)) {
    throw invalidValue('client.endpoint', 'must be a host name or an http(s) URL', endpoint)
  }
  return url.origin
}
