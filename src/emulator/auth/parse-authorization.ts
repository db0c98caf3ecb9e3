/**
 * Parses the signature of a request from the Authorization header or the query (presigned URL), V1 or
 * V4. Verifies nothing.
 */
import type { HeaderMap } from '../http/headers.js'
import { invalidArgument, OssError } from '../oss-error.js'
import type { SignableRequest } from './canonical.js'
import type { CredentialScope } from './signature.js'

/** A signature as sent, with the fields needed to verify it. */
export interface Authorization {
  readonly accessKeyId: string
  readonly signature: string
  readonly token: string | undefined
  /** Date in the form that was signed. */
  readonly date: string
  /** Time of signing, in ms since the epoch; absent in presigned V1 URLs. */
  readonly signedAt: number | undefined
  /** Expiry, in ms since the epoch; presigned URLs only. */
  readonly expiresAt: number | undefined
  /** V4 only. */
  readonly scope: CredentialScope | undefined
  /** Names of additional headers, lower case, sorted; V4 only. */
  readonly additionalHeaders: readonly string[]
}

/**
 * Parses the signature of a request.
 *
 * @returns undefined for an anonymous request
 * @throws `OssError` if the signature is malformed
 */
export function parseAuthorization(request: SignableRequest): Authorization | undefined {
  const { headers, query } = request
  const authorization = headers.get('authorization')
  const version = authorization ?? query.get('x-oss-signature-version') ?? ''
  if (/^OSS2( |$)/.test(version)) throw unsupportedVersion2(version)
  if (authorization !== undefined) {
    return authorization.startsWith('OSS4-HMAC-SHA256')
      ? parseHeaderV4(authorization, headers)
      : parseHeaderV1(authorization, headers)
  }
  if (query.has('x-oss-signature-version') || query.has('x-oss-signature'))
    return parseQueryV4(query, headers)
  if (query.has('Signature') && query.has('OSSAccessKeyId')) return parseQueryV1(query)
  return undefined
}

const malformedAuthorization = (value: string): OssError =>
  invalidArgument('Authorization', value, 'Authorization header is invalid.')

const unsupportedVersion2 = (value: string): OssError =>
  invalidArgument('Authorization', value, 'Signatures of version 2 are not supported. Use 4 or 1.')

const missingDate = (): OssError =>
  new OssError('AccessDenied', { message: 'OSS authentication requires a valid Date.' })

function parseHeaderV1(authorization: string, headers: HeaderMap): Authorization {
  const [, accessKeyId, signature] = /^OSS ([^:\s]+):(\S+)$/.exec(authorization) ?? []
  if (accessKeyId === undefined || signature === undefined)
    throw malformedAuthorization(authorization)
  const date = headers.get('x-oss-date') ?? headers.get('date')
  const signedAt = Date.parse(date ?? '')
  if (date === undefined || Number.isNaN(signedAt)) throw missingDate()
  return {
    accessKeyId,
    signature,
    token: headers.get('x-oss-security-token'),
    date,
    signedAt,
    expiresAt: undefined,
    scope: undefined,
    additionalHeaders: [],
  }
}

function parseQueryV1(query: ReadonlyMap<string, string>): Authorization {
  const expiresSeconds = query.get('Expires') ?? ''
  if (!/^\d+$/.test(expiresSeconds))
    throw new OssError('AccessDenied', { message: 'Invalid date (should be seconds since epoch).' })
  return {
    accessKeyId: query.get('OSSAccessKeyId') ?? '',
    signature: query.get('Signature') ?? '',
    token: query.get('security-token'),
    date: expiresSeconds,
    signedAt: undefined,
    expiresAt: Number(expiresSeconds) * 1000,
    scope: undefined,
    additionalHeaders: [],
  }
}

function parseHeaderV4(authorization: string, headers: HeaderMap): Authorization {
  const fields = new Map<string, string>()
  for (const pair of authorization.slice('OSS4-HMAC-SHA256'.length).split(',')) {
    const equals = pair.indexOf('=')
    if (equals !== -1) fields.set(pair.slice(0, equals).trim(), pair.slice(equals + 1).trim())
  }
  const signature = fields.get('Signature')
  const credential = parseCredential(fields.get('Credential'))
  if (signature === undefined || credential === undefined)
    throw malformedAuthorization(authorization)
  const dateHeader = headers.get('date')
  const date =
    headers.get('x-oss-date') ?? (dateHeader === undefined ? undefined : toCompactTime(dateHeader))
  const signedAt = parseCompactTime(date)
  if (date === undefined || signedAt === undefined) throw missingDate()
  return {
    ...credential,
    signature,
    token: headers.get('x-oss-security-token'),
    date,
    signedAt,
    expiresAt: undefined,
    additionalHeaders: parseHeaderNames(fields.get('AdditionalHeaders')),
  }
}

function parseQueryV4(query: ReadonlyMap<string, string>, headers: HeaderMap): Authorization {
  const credential = parseCredential(query.get('x-oss-credential'))
  const signature = query.get('x-oss-signature')
  const date = query.get('x-oss-date')
  const lifetimeSeconds = Number(query.get('x-oss-expires') ?? Number.NaN)
  const signedAt = parseCompactTime(date)
  if (credential === undefined || signature === undefined || date === undefined)
    throw new OssError('AccessDenied', {
      message: 'Query-string authentication requires the Signature, Expires and Credential.',
    })
  if (signedAt === undefined) throw missingDate()
  if (!Number.isInteger(lifetimeSeconds) || lifetimeSeconds < 1 || lifetimeSeconds > 604_800)
    throw invalidArgument(
      'x-oss-expires',
      query.get('x-oss-expires') ?? '',
      'x-oss-expires should be between 1 and 604800.',
    )
  const additionalHeaders = parseHeaderNames(query.get('x-oss-additional-headers'))
  const missing = additionalHeaders.find(name => !headers.has(name))
  if (missing !== undefined)
    throw invalidArgument(missing, '', `The additional header ${missing} is missing.`)
  return {
    ...credential,
    signature,
    token: query.get('x-oss-security-token'),
    date,
    signedAt,
    expiresAt: signedAt + lifetimeSeconds * 1000,
    additionalHeaders,
  }
}

function parseCredential(
  text: string | undefined,
): { accessKeyId: string; scope: CredentialScope } | undefined {
  const [, accessKeyId, date, region, product] =
    /^(.+)\/(\d{8})\/([^/]+)\/([^/]+)\/aliyun_v4_request$/.exec(text ?? '') ?? []
  if (accessKeyId === undefined || date === undefined) return undefined
  if (region === undefined || product === undefined) return undefined
  return { accessKeyId, scope: { date, region, product } }
}

const parseHeaderNames = (names: string | undefined): string[] =>
  (names ?? '')
    .split(';')
    .map(name => name.trim().toLowerCase())
    .filter(name => name !== '')
    .toSorted()

function parseCompactTime(text: string | undefined): number | undefined {
  const [, y, mo, d, h, mi, s] = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(text ?? '') ?? []
  const time = Date.parse(`${y}-${mo}-${d}T${h}:${mi}:${s}Z`)
  return Number.isNaN(time) ? undefined : time
}

const toCompactTime = (httpDate: string): string | undefined => {
  const time = Date.parse(httpDate)
  return Number.isNaN(time) ? undefined : new Date(time).toISOString().replace(/[-:]|\.\d+/g, '')
}
