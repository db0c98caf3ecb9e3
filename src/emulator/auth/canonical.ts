/**
 * Builds the string that a signature covers from a request as the server receives it. All strings here
 * hold one character per byte (latin1), so that headers and keys are signed as raw bytes.
 */
import type { Address } from '../http/bucket-address.js'
import type { HeaderMap } from '../http/headers.js'
import { encodeRfc3986 } from '../http/request-target.js'

/** The parts of a request that signatures cover. */
export interface SignableRequest {
  readonly method: string
  readonly headers: HeaderMap
  /** Decoded, as text. */
  readonly query: ReadonlyMap<string, string>
}

/** Encodes text as UTF-8, one character per byte. */
const toLatin1 = (text: string): string => Buffer.from(text).toString('latin1')

/** Sub-resources covered by V1 signatures, besides all parameters that start with `x-oss-`. */
const SIGNED_SUB_RESOURCES = new Set(
  (
    'accessPoint accessPointConfigForObjectProcess accessPointForObjectProcess accessPointPolicy ' +
    'accessPointPolicyForObjectProcess acl append archiveDirectRead asyncFetch bucketArchiveDirectRead ' +
    'bucketInfo callback callback-var cleanRestoredObject cloudboxes cname comp continuation-token cors ' +
    'delete encryption endTime httpsConfig img inventory inventoryId legalHold lifecycle live location ' +
    'logging metaQuery objectMeta objectWorm overwriteConfig partNumber policy policyStatus position ' +
    'publicAccessBlock qos qosInfo qosRequester redundancyTransition referer regionList ' +
    'replication replicationLocation replicationProgress requesterQosInfo requestPayment resourceGroup ' +
    'resourcePool resourcePoolBuckets resourcePoolInfo response-cache-control ' +
    'response-content-disposition response-content-encoding response-content-language ' +
    'response-content-type response-expires restore retention rtc seal security-token sequential ' +
    'startTime stat status style styleName symlink tagging transferAcceleration uploadId uploads ' +
    'userDefinedLogFieldsConfig versionId versioning versions vod website withHashContext worm wormExtend ' +
    'wormId x-oss-ac-forward-allow'
  ).split(' '),
)

/**
 * Returns the V1 string to sign.
 *
 * @param date – the Date header, `x-oss-date`, or the `Expires` parameter
 */
export function stringToSignV1(request: SignableRequest, address: Address, date: string): string {
  const { method, headers } = request
  return [
    method,
    headers.get('content-md5') ?? '',
    headers.get('content-type') ?? '',
    date,
    canonicalOssHeaders(headers).join('') + canonicalResource(request, address),
  ].join('\n')
}

function canonicalOssHeaders(headers: HeaderMap): string[] {
  const names = [...headers.keys()].filter(name => name.startsWith('x-oss-'))
  return names.toSorted().map(name => `${name}:${headers.get(name) ?? ''}\n`)
}

function canonicalResource({ query }: SignableRequest, { bucket, key }: Address): string {
  const path = bucket === undefined ? '/' : `/${bucket}/${key ?? ''}`
  const signed = [...query.keys()]
    .filter(name => SIGNED_SUB_RESOURCES.has(name) || name.startsWith('x-oss-'))
    .toSorted()
    .map(name => (query.get(name) === '' ? name : `${name}=${query.get(name) ?? ''}`))
  return toLatin1(signed.length === 0 ? path : `${path}?${signed.join('&')}`)
}

/**
 * Returns the V4 canonical request.
 *
 * @param additionalHeaders – header names, lower case, sorted
 */
export function canonicalRequestV4(
  request: SignableRequest,
  { bucket, key }: Address,
  additionalHeaders: readonly string[],
): string {
  const { method, headers } = request
  const path = bucket === undefined ? '/' : `/${bucket}/${key ?? ''}`
  return [
    method,
    encodeRfc3986(path).replaceAll('%2F', '/'),
    canonicalQuery(request.query),
    canonicalHeaders(headers, additionalHeaders),
    additionalHeaders.join(';'),
    headers.get('x-oss-content-sha256') ?? 'UNSIGNED-PAYLOAD',
  ].join('\n')
}

function canonicalQuery(query: ReadonlyMap<string, string>): string {
  const pairs = [...query]
    .filter(([name]) => name !== 'x-oss-signature')
    .map(([name, value]) => [encodeRfc3986(name), encodeRfc3986(value)] as const)
  pairs.sort(([a], [b]) => (a < b ? -1 : 1)) // encoded names are ASCII and unique
  return pairs.map(([name, value]) => (value === '' ? name : `${name}=${value}`)).join('&')
}

function canonicalHeaders(headers: HeaderMap, additionalHeaders: readonly string[]): string {
  const signed = [...headers.keys()].filter(
    name =>
      name === 'content-type' ||
      name === 'content-md5' ||
      name.startsWith('x-oss-') ||
      additionalHeaders.includes(name),
  )
  return signed
    .toSorted()
    .map(name => `${name}:${headers.get(name) ?? ''}\n`)
    .join('')
}
