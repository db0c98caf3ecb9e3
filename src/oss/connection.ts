/**
 * Connection to OSS: settings, sockets and one bucket adapter per place. Unfinished uploads use the place
 * recorded in their checkpoint; the client only determines how requests are signed.
 */
import { invalidValue } from '../errors.js'
import { AliOssBucket } from './ali-oss-bucket.js'
import type { Bucket, OssConnection, Place } from './bucket.js'
import {
  canonicalEndpoint,
  changePlace,
  checkBucketName,
  isServiceEndpoint,
  readClient,
  type AliOssClient,
  type ClientOptions,
} from './client-options.js'
import { withheldCredentials } from './credentials.js'
import type { ImportAliOss } from './import-ali-oss.js'
import { unverifiedTlsWarning } from './tls-identity.js'
import { Transport, type SendRequest } from './transport.js'

/** Stable name for the address of an embedded OSS, whose port changes on every start. */
export interface EndpointAlias {
  /** Name to record: `local:<directory>`. */
  readonly name: string
  /** Current address. */
  readonly endpoint: string
}

/** Settings of a connection that are not those of a client. */
export interface ConnectOptions {
  /** Further endpoints that are configured, each for one bucket. */
  readonly bucketEndpoints?: ReadonlyMap<string, string> | undefined
  /** Returns the function that sends all requests, around the given one. */
  readonly wrap?: (send: SendRequest) => SendRequest
  /** @default the installed `ali-oss` */
  readonly importClient?: ImportAliOss
}

/**
 * Creates a connection from `client`. Sends nothing.
 * @throws TypeError if `client` is neither an `ali-oss` client nor options to create one
 */
export function connect(
  client: AliOssClient | ClientOptions,
  alias?: EndpointAlias,
  { bucketEndpoints, wrap = send => send, importClient }: ConnectOptions = {},
): OssConnection {
  const { settings, place } = readClient(client)
  const transport = new Transport(settings.agents, settings.ca)
  const sendRequest = wrap(transport.request)
  const own = { ...place, endpoint: alias?.name ?? place.endpoint }
  const buckets = new Map<string, Bucket>()
  const isConfiguredFor = (endpoint: string, bucket: string): boolean => {
    const ofBucket = bucketEndpoints?.get(bucket)
    return (
      endpoint === own.endpoint ||
      (ofBucket !== undefined && endpoint === canonicalEndpoint(ofBucket))
    )
  }
  const mayReach = ({ endpoint, bucket }: Pick<Place, 'endpoint' | 'bucket'>): boolean =>
    // The key of an embedded OSS is random, and the keys of OSS are none of its business.
    isConfiguredFor(endpoint, bucket) || (alias === undefined && isServiceEndpoint(endpoint))
  return {
    endpoint: own.endpoint,
    isConfiguredFor,
    place(bucket = place.bucket) {
      if (bucket === undefined) {
        throw invalidValue('client.bucket', 'must be the bucket to upload to', undefined)
      }
      checkBucketName('client.bucket', bucket)
      return { ...own, bucket }
    },
    changePlace: (from, change) => changePlace(from, change, own),
    mayReach,
    open(at: Place) {
      const name = JSON.stringify([at.endpoint, at.region, at.bucket, at.cname, at.pathStyle])
      const known = buckets.get(name)
      if (known !== undefined) return known
      const endpoint = at.endpoint === alias?.name ? alias.endpoint : at.endpoint
      const credentials = mayReach(at) ? settings.credentials : withheldCredentials(at.endpoint)
      const bucket = new AliOssBucket(
        { ...at, endpoint },
        { ...settings, credentials },
        sendRequest,
        importClient,
      )
      buckets.set(name, bucket)
      return bucket
    },
    tlsWarning: () => unverifiedTlsWarning(own.endpoint, settings.agents.https, process.env),
    setLimits: limits => transport.setLimits(limits),
    close: () => transport.close(),
  }
}
