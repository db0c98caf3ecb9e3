/**
 * Decides how to reach OSS when endpoint and region come from different sources. Pure. A region and an endpoint of
 * `aliyuncs.com` that contradict each other cannot both be meant: the one of the higher source wins.
 */
import { omitUndefined } from '../util/omit-undefined.js'
import type { BucketEndpoint } from './ossutil-config.js'

/** A value and the rank of its source. Rank 0 is the highest. */
export interface Ranked<T> {
  readonly value: T
  readonly rank: number
}

/** Settings that locate OSS. */
export interface PlaceSettings {
  readonly endpoint?: string
  readonly region?: string
  readonly cname?: boolean
}

/** The settings that locate OSS, with the ranks of their sources. */
export interface RankedPlace {
  readonly endpoint: Ranked<string> | undefined
  readonly region: Ranked<string> | undefined
  readonly cname: Ranked<unknown> | undefined
}

/**
 * Returns the settings that apply.
 * @param own – endpoint of the bucket, which takes precedence over an endpoint of the same rank
 * @param ownRank – rank of `own`
 */
export function placeFor(
  place: RankedPlace,
  own: BucketEndpoint | undefined,
  ownRank: number,
): PlaceSettings {
  if (own === undefined || (place.endpoint?.rank ?? ownRank) < ownRank) return reconciled(place)
  const region =
    place.region !== undefined && place.region.rank < ownRank
      ? place.region.value
      : (regionOfEndpoint(own.endpoint) ??
        place.region?.value ??
        regionOfEndpoint(place.endpoint?.value ?? ''))
  const rank = Math.min(place.region?.rank ?? ownRank, ownRank)
  const isCnameOverruled = (place.cname?.rank ?? ownRank) < ownRank
  const settings = reconciled({
    endpoint: { value: own.endpoint, rank: ownRank },
    region: region === undefined ? undefined : { value: region, rank },
    cname: isCnameOverruled ? place.cname : { value: own.cname, rank: ownRank },
  })
  return settings.endpoint === undefined ? reconciled(place) : settings
}

/** Drops the endpoint or the region if a higher source contradicts it. */
function reconciled({ endpoint, region, cname }: RankedPlace): PlaceSettings {
  const endpointRegion = endpoint === undefined ? undefined : regionOfEndpoint(endpoint.value)
  const isContradiction =
    endpointRegion !== undefined &&
    region !== undefined &&
    endpointRegion !== withoutPrefix(region.value)
  const isEndpointDropped = isContradiction && region.rank < (endpoint?.rank ?? 0)
  const isRegionDropped = isContradiction && region.rank > (endpoint?.rank ?? 0)
  // A lower source that names the bucket's domain said so about the endpoint that is dropped.
  // One that is configured does not describe the endpoint of a flag either.
  const isCnameDropped =
    (isEndpointDropped && (cname?.rank ?? 0) > region.rank) ||
    (endpoint?.rank === 0 && (cname?.rank ?? 0) > 0)
  return omitUndefined({
    endpoint: isEndpointDropped ? undefined : endpoint?.value,
    region: isRegionDropped ? undefined : region?.value,
    cname: isCnameDropped || cname === undefined ? undefined : cname.value === true,
  })
}

/** In characters (RFC 1035). */
const MAX_HOST_LENGTH = 253

/** Returns the region of an endpoint of `aliyuncs.com`. Accelerated endpoints serve all regions. */
export function regionOfEndpoint(endpoint: string): string | undefined {
  const host = endpoint
    .toLowerCase()
    .replace(/^[a-z]+:\/\//, '')
    .replace(/[:/].*$/s, '')
  if (host.length > MAX_HOST_LENGTH) return undefined
  const [, region, dualStackRegion] =
    /(?:^|\.|-)(?:oss-([a-z0-9-]+?)(?:-internal)?|([a-z0-9-]+)\.oss)\.aliyuncs\.com$/.exec(host) ??
    []
  const found = region ?? dualStackRegion
  return found === undefined || found.startsWith('accelerate') ? undefined : found
}

function withoutPrefix(region: string): string {
  return region.toLowerCase().replace(/^(vpc100-)?oss-/, '')
}
