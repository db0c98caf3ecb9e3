/**
 * Connection to OSS: settings, sockets and one bucket adapter per place. Unfinished uploads use the place
 * recorded in their checkpoint; the client only determines how requests are signed (contract).
 */
import { invalidValue } from '../errors.js'
import { AliOssBucket } from './ali-oss-bucket.js'
import type { Bucket, OssConnection, Place } from './bucket.js'
import {
  canonicalEndpoint,
  readClient,
  type AliOssClient,
  type ClientOptions,
} from './client-options.js'
import { Transport } from './transport.js'

/** Stable name for the address of an embedded OSS, whose port changes on every start. */
export interface EndpointAlias {
  /** Name to record: `local:<directory>`. */
  readonly name: string
  /** Current address. */
  readonly endpoint: string
}

/**
 * Creates a connection from `client`. Sends nothing.
 * @param bucketEndpoints – further endpoints that are configured, each for one bucket
 * @throws TypeError if `client` is neither an `ali-oss` client nor options to create one
 */
export function connect(
  client: AliOssClient | ClientOptions,
  alias?: EndpointAlias,
  bucketEndpoints: ReadonlyMap<string, string> = new Map(),
): OssConnection {
  const { settings, place } = readClient(client)
  const transport = new Transport(settings.agents, settings.ca)
  const buckets = new Map<string, Bucket>()
  return {
    endpoint: alias?.name ?? place.endpoint,
    isConfiguredFor(endpoint, bucket) {
      if (endpoint === (alias?.name ?? place.endpoint)) return true
      const own = bucketEndpoints.get(bucket)
      return own !== undefined && endpoint === canonicalEndpoint(own)
    },
    place(bucket = place.bucket) {
      if (bucket === undefined) {
        throw invalidValue('client.bucket', 'must be the bucket to upload to', undefined)
      }
      if (!/^[a-z0-9][a-z0-9_-]{1,61}[a-z0-9]$/.test(bucket)) {
        throw invalidValue('client.bucket', 'must be a bucket name of 3 to 63 characters', bucket)
      }
      return { ...place, endpoint: alias?.name ?? place.endpoint, bucket }
    },
    open(at: Place) {
      const name = JSON.stringify([at.endpoint, at.region, at.bucket, at.cname, at.pathStyle])
      const known = buckets.get(name)
      if (known !== undefined) return known
      const endpoint = at.endpoint === alias?.name ? alias.endpoint : at.endpoint
      const bucket = new AliOssBucket({ ...at, endpoint }, settings, transport)
      buckets.set(name, bucket)
      return bucket
    },
    setLimits: limits => transport.setLimits(limits),
    close: () => transport.close(),
  }
}
