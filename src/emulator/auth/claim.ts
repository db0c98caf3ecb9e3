/**
 * What a request says about who sent it: in the Authorization header or in the query (a presigned
 * URL), V1 or V4. Reading only; nothing is believed here.
 */
import type { HeaderMap } from '../http/headers.js'
import { invalidArgument, OssError } from '../oss-error.js'
import type { Signable } from './canonical.js'
import type { Scope } from './signature.js'

/** A signature as sent, and what it needs to be checked. */
export interface Claim {
  readonly version: 1 | 4
  readonly accessKeyId: string
  readonly signature: string
  readonly token: string | undefined
  /** The date as it was signed. */
  readonly date: string
  /** When it was made, in ms since the epoch; absent in presigned V1 URLs. */
  readonly time: number | undefined
  /** When it ends, in ms since the epoch; presigned URLs only. */
  readonly expires: number | undefined
  /** V4 only. */
  readonly scope: Scope | undefined
  /** Names of additional headers, lower case, sorted; V4 only. */
  readonly additional: readonly string[]
}

/** The claim of a request; undefined for an anonymous one. */
export function readClaim(request: Signable): Claim | undefined {
  const { headers, query } = request
  const authorization = headers.get('authorization')
  if (authorization !== undefined) {
    return authorization.startsWith('OSS4-HMAC-SHA256')
      ? headerV4(authorization, headers)
      : headerV1(authorization, headers)
  }
  if (query.has('x-oss-signature-version') || query.has('x-oss-signature')) return queryV4(query)
  if (query.has('Signature') && query.has('OSSAccessKeyId')) return queryV1(query)
  return undefined
}

const malformed = (value: string): OssError =>
  invalidArgument('Authorization', value, 'Authorization header is invalid.')

const noDate = (): OssError =>
  new OssError('AccessDenied', { message: 'OSS authentication requires a valid Date.' })

function headerV1(authorization: string, headers: HeaderMap): Claim {
  const [, accessKeyId, signature] = /^OSS ([^:\s]+):(\S+)$/.exec(authorization) ?? []
  if (accessKeyId === undefined || signature === undefined) throw malformed(authorization)
  const date = headers.get('x-oss-date') ?? headers.get('date')
  const time = Date.parse(date ?? '')
  if (date === undefined || Number.isNaN(time)) throw noDate()
  return {
    version: 1,
    accessKeyId,
    signature,
    token: headers.get('x-oss-security-token'),
    date,
    time,
    expires: undefined,
    scope: undefined,
    additional: [],
  }
}

function queryV1(query: ReadonlyMap<string, string>): Claim {
  const expires = query.get('Expires') ?? ''
  if (!/^\d+$/.test(expires))
    throw new OssError('AccessDenied', { message: 'Invalid date (should be seconds since epoch).' })
  return {
    version: 1,
    accessKeyId: query.get('OSSAccessKeyId') ?? '',
    signature: query.get('Signature') ?? '',
    token: query.get('security-token'),
    date: expires,
    time: undefined,
    expires: Number(expires) * 1000,
    scope: undefined,
    additional: [],
  }
}

function headerV4(authorization: string, headers: HeaderMap): Claim {
  const fields = new Map<string, string>()
  for (const pair of authorization.slice('OSS4-HMAC-SHA256'.length).split(',')) {
    const equals = pair.indexOf('=')
    if (equals !== -1) fields.set(pair.slice(0, equals).trim(), pair.slice(equals + 1).trim())
  }
  const signature = fields.get('Signature')
  const credential = parseCredential(fields.get('Credential'))
  if (signature === undefined || credential === undefined) throw malformed(authorization)
  const dateHeader = headers.get('date')
  const date =
    headers.get('x-oss-date') ?? (dateHeader === undefined ? undefined : compactDate(dateHeader))
  const time = parseCompact(date)
  if (date === undefined || time === undefined) throw noDate()
  return {
    version: 4,
    ...credential,
    signature,
    token: headers.get('x-oss-security-token'),
    date,
    time,
    expires: undefined,
    additional: listed(fields.get('AdditionalHeaders')),
  }
}

function queryV4(query: ReadonlyMap<string, string>): Claim {
  const credential = parseCredential(query.get('x-oss-credential'))
  const signature = query.get('x-oss-signature')
  const date = query.get('x-oss-date')
  const expires = Number(query.get('x-oss-expires') ?? Number.NaN)
  const time = parseCompact(date)
  if (credential === undefined || signature === undefined || date === undefined)
    throw new OssError('AccessDenied', {
      message: 'Query-string authentication requires the Signature, Expires and Credential.',
    })
  if (time === undefined) throw noDate()
  if (!Number.isInteger(expires) || expires < 1 || expires > 604_800)
    throw invalidArgument(
      'x-oss-expires',
      query.get('x-oss-expires') ?? '',
      'x-oss-expires should be between 1 and 604800.',
    )
  return {
    version: 4,
    ...credential,
    signature,
    token: query.get('x-oss-security-token'),
    date,
    time,
    expires: time + expires * 1000,
    additional: listed(query.get('x-oss-additional-headers')),
  }
}

function parseCredential(
  text: string | undefined,
): { accessKeyId: string; scope: Scope } | undefined {
  const [, accessKeyId, date, region, product] =
    /^(.+)\/(\d{8})\/([^/]+)\/([^/]+)\/aliyun_v4_request$/.exec(text ?? '') ?? []
  if (accessKeyId === undefined || date === undefined) return undefined
  if (region === undefined || product === undefined) return undefined
  return { accessKeyId, scope: { date, region, product } }
}

const listed = (names: string | undefined): string[] =>
  (names ?? '')
    .split(';')
    .map(name => name.trim().toLowerCase())
    .filter(name => name !== '')
    .toSorted()

function parseCompact(text: string | undefined): number | undefined {
  const [, y, mo, d, h, mi, s] = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(text ?? '') ?? []
  const time = Date.parse(`${y}-${mo}-${d}T${h}:${mi}:${s}Z`)
  return Number.isNaN(time) ? undefined : time
}

const compactDate = (http: string): string | undefined => {
  const time = Date.parse(http)
  return Number.isNaN(time) ? undefined : new Date(time).toISOString().replace(/[-:]|\.\d+/g, '')
}
