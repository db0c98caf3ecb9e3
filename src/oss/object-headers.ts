/**
 * Converts the options of an object (type, metadata, ACL, tags, callback, ...) to the headers of OSS. Pure: the
 * same options always produce the same headers, so their digest determines whether an upload id of an earlier
 * run can be reused (rule 4).
 */
import { invalidType, invalidValue } from '../errors.js'
import { TOKEN_HEADER, type Headers } from './bucket.js'

/** Callback request that OSS sends when the object is complete, in the form of `ali-oss`. */
export interface CallbackOptions {
  /** URL that OSS posts to, or up to five URLs separated by `;`. */
  readonly url: string
  /** Body of the request. OSS replaces `${bucket}`, `${object}`, `${size}`, ... */
  readonly body: string
  /** Host header of the request. Default: the host of `url`. */
  readonly host?: string
  /** Content-Type of the request. Default: `application/x-www-form-urlencoded`. */
  readonly contentType?: string
  /** Whether OSS sends SNI when it connects with TLS. Default `false`. */
  readonly callbackSNI?: boolean
  /** Custom variables, sent as `x:name`. */
  readonly customValue?: Readonly<Record<string, string | number | boolean>>
}

export const STORAGE_CLASSES = [
  'Standard',
  'IA',
  'Archive',
  'ColdArchive',
  'DeepColdArchive',
] as const
export const ACLS = ['default', 'private', 'public-read', 'public-read-write'] as const

/** Options of the object on OSS. All of them are recorded in the checkpoint. */
export interface ObjectOptions {
  /**
   * Other headers of PutObject and InitiateMultipartUpload. Must not contain credentials. `x-oss-traffic-limit`
   * (bit/s) is sent with PutObject and UploadPart.
   */
  readonly headers?: Readonly<Record<string, string>>
  /**
   * User metadata without the `x-oss-meta-` prefix; at most 8 KiB. A value with characters outside printable ASCII,
   * or with spaces at its ends, is percent-encoded for `decodeURIComponent()`; any other is sent unchanged.
   */
  readonly meta?: Readonly<Record<string, string>>
  /** Content-Type. Default: derived from the key's extension. */
  readonly mime?: string
  /** Storage class. Default: the bucket's. */
  readonly storageClass?: (typeof STORAGE_CLASSES)[number]
  /** Access control list. Default: the bucket's. */
  readonly acl?: (typeof ACLS)[number]
  /** Tags of the object; at most 10. */
  readonly tags?: Readonly<Record<string, string>>
  /** `false` never replaces an existing object. Default `true`. */
  readonly overwrite?: boolean
  /** Makes OSS call a server when the object is stored. A failed callback is only a warning. */
  readonly callback?: CallbackOptions
}

/** Headers reserved for `ali-oss`, the transport or other options. */
const RESERVED =
  /^(authorization|host|date|content-length|content-md5|transfer-encoding|connection|keep-alive|te|trailer|upgrade|expect|x-oss-(meta-oss-spool-token|copy-source.*|date|security-token|content-sha256|hash-crc64ecma|forbid-overwrite|callback|callback-var)|proxy-authorization|cookie)$/
/** Bytes of the 8 KiB used by our token. */
const TOKEN_BYTES = 'oss-spool-token'.length + 36
const HEADER_NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/
/** Limits the bandwidth of one request, in bit/s. */
const TRAFFIC_LIMIT = 'x-oss-traffic-limit'
const MIN_TRAFFIC_LIMIT = 819_200
const MAX_TRAFFIC_LIMIT = 838_860_800
const HEADER_VALUE = /^[\t\x20-\x7e]*$/

/** Returns the headers of the requests that carry bytes of the object: PutObject and UploadPart. */
export function bodyHeaders({ headers = {} }: ObjectOptions): Headers {
  const limits = Object.entries(headers).filter(
    ([name, value]) => name.toLowerCase() === TRAFFIC_LIMIT && isTrafficLimit(value),
  )
  return Object.fromEntries(limits.map(([, value]) => [TRAFFIC_LIMIT, value]))
}

function isTrafficLimit(value: string): boolean {
  const limit = /^\d+$/.test(value) ? Number(value) : Number.NaN
  return limit >= MIN_TRAFFIC_LIMIT && limit <= MAX_TRAFFIC_LIMIT
}

/**
 * Returns the headers of Initiate and of PutObject.
 * @throws TypeError if a header or metadata cannot be sent
 */
export function initiationHeaders(object: ObjectOptions): Headers {
  const headers: Record<string, string> = {}
  for (const [name, value] of Object.entries(object.headers ?? {})) {
    const lower = name.toLowerCase()
    if (!HEADER_NAME.test(name)) throw invalidValue('headers', 'must have valid header names', name)
    if (RESERVED.test(lower)) throw invalidValue('headers', 'must not set this header', name)
    if (!HEADER_VALUE.test(value))
      throw invalidValue('headers', `has a bad value for ${name}`, value)
    if (lower !== TRAFFIC_LIMIT) headers[lower] = value
  }
  let metaSize = TOKEN_BYTES
  for (const [name, value] of Object.entries(object.meta ?? {})) {
    const header = `x-oss-meta-${name.toLowerCase()}`
    if (!/^[0-9A-Za-z-]+$/.test(name) || header === TOKEN_HEADER) {
      throw invalidValue('meta', 'must have names of letters, digits and hyphens', name)
    }
    headers[header] = percentEncode(value)
    metaSize += name.length + headers[header].length
  }
  if (metaSize > 8 * 1024) throw invalidValue('meta', 'must not be larger than 8 KiB', object.meta)
  if (object.mime !== undefined) headers['content-type'] = object.mime
  if (object.storageClass !== undefined) headers['x-oss-storage-class'] = object.storageClass
  const tags = Object.entries(object.tags ?? {})
  if (tags.length > 0) {
    headers['x-oss-tagging'] = tags
      .map(([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(value)}`)
      .join('&')
  }
  return { ...headers, ...aclHeader(object), ...overwriteHeader(object) }
}

/**
 * Returns the headers of Complete, which PutObject sends in addition to `initiationHeaders`. Includes the ACL,
 * because OSS reads it from Complete and ignores it at Initiate (aliyun-oss-go-sdk, live tests).
 */
export function completionHeaders(object: ObjectOptions): Headers {
  return { ...overwriteHeader(object), ...aclHeader(object), ...callbackHeaders(object.callback) }
}

function aclHeader({ acl }: ObjectOptions): Headers {
  return acl === undefined ? {} : { 'x-oss-object-acl': acl }
}

function overwriteHeader(object: ObjectOptions): Headers {
  return object.overwrite === false ? { 'x-oss-forbid-overwrite': 'true' } : {}
}

function callbackHeaders(callback: CallbackOptions | undefined): Headers {
  if (callback === undefined) return {}
  const { url, body, host, contentType, callbackSNI, customValue } = callback
  const request = {
    callbackUrl: encodeURI(url),
    callbackBody: body,
    ...(host === undefined ? {} : { callbackHost: host }),
    ...(contentType === undefined ? {} : { callbackBodyType: contentType }),
    ...(callbackSNI === undefined ? {} : { callbackSNI }),
  }
  const variables = Object.entries(customValue ?? {}).map(([k, v]) => [`x:${k}`, String(v)])
  return {
    'x-oss-callback': base64(request),
    ...(variables.length === 0
      ? {}
      : { 'x-oss-callback-var': base64(Object.fromEntries(variables)) }),
  }
}

/**
 * Validates the options before any work, including their types: callers may use plain JavaScript.
 * @throws TypeError
 */
export function checkObjectOptions(object: ObjectOptions): void {
  for (const name of ['headers', 'meta', 'tags'] as const) {
    const map: unknown = object[name]
    if (map === undefined) continue
    if (!isPlain(map)) throw invalidType(name, 'an object', map)
    for (const value of Object.values(map)) {
      if (typeof value !== 'string') throw invalidType(name, 'an object of strings', value)
    }
  }
  oneOf('storageClass', STORAGE_CLASSES, object.storageClass)
  oneOf('acl', ACLS, object.acl)
  const mime: unknown = object.mime
  if (mime !== undefined && typeof mime !== 'string') throw invalidType('mime', 'a string', mime)
  if (mime !== undefined && !/^[\x21-\x2e\x30-\x7e]+\/[\x20-\x7e]+$/.test(mime)) {
    throw invalidValue('mime', 'must be a media type such as text/csv', object.mime)
  }
  if (object.overwrite !== undefined && typeof object.overwrite !== 'boolean') {
    throw invalidType('overwrite', 'a boolean', object.overwrite)
  }
  if (Object.keys(object.tags ?? {}).length > 10) {
    throw invalidValue('tags', 'must not have more than 10 entries', object.tags)
  }
  for (const text of Object.entries(object.tags ?? {}).flat()) {
    if (!text.isWellFormed()) throw invalidValue('tags', 'must be well-formed Unicode', text)
  }
  if (object.callback !== undefined) checkCallback(object.callback)
  for (const header of Object.entries(object.headers ?? {})) checkRequestHeader(...header)
  initiationHeaders(object)
}

/**
 * Validates headers that are about the requests instead of the object. Checked for new uploads only: an upload that
 * was recorded with such a header remains resumable.
 */
function checkRequestHeader(name: string, value: string): void {
  const lower = name.toLowerCase()
  if (lower === 'x-oss-request-payer') {
    const reason = 'must not set this header, which every request needs: use "client.isRequestPay"'
    throw invalidValue('headers', reason, name)
  }
  if (lower === TRAFFIC_LIMIT && !isTrafficLimit(value)) {
    const range = `${MIN_TRAFFIC_LIMIT} to ${MAX_TRAFFIC_LIMIT} bit/s`
    throw invalidValue('headers', `must have an ${TRAFFIC_LIMIT} of ${range}`, value)
  }
}

/** Validates every property, because all of them are recorded in the checkpoint. */
function checkCallback(callback: unknown): void {
  if (!isPlain(callback)) {
    throw invalidType('callback', 'an object with a "url" and a "body"', callback)
  }
  const properties = callback
  for (const name of ['url', 'body'] as const) {
    if (properties[name] === undefined) throw invalidType(`callback.${name}`, 'a string', undefined)
  }
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined) continue
    const full = `callback.${name}`
    if (name === 'customValue') checkVariables(full, value)
    else if (name === 'callbackSNI') {
      if (typeof value !== 'boolean') throw invalidType(full, 'a boolean', value)
    } else if (['url', 'body', 'host', 'contentType'].includes(name)) {
      if (typeof value !== 'string') throw invalidType(full, 'a string', value)
      if (!value.isWellFormed()) throw invalidValue(full, 'must be well-formed Unicode', value)
    } else throw invalidValue(full, 'is not a known option', value)
  }
}

function checkVariables(name: string, variables: unknown): void {
  if (!isPlain(variables)) {
    throw invalidType(name, 'an object', variables)
  }
  for (const [variable, value] of Object.entries(variables)) {
    if (typeof value === 'string' || typeof value === 'boolean' || Number.isFinite(value)) continue
    throw invalidType(`${name}.${variable}`, 'a string, a number or a boolean', value)
  }
}

/** Accepts only plain objects: the entries of a `Map`, `Headers` or `Date` would be lost silently. */
function isPlain(value: unknown): value is Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null) return false
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === null || Object.getPrototypeOf(prototype) === null
}

function oneOf(name: string, allowed: readonly string[], value: string | undefined): void {
  if (value !== undefined && !allowed.includes(value)) {
    throw invalidValue(name, `must be one of ${allowed.join(', ')}`, value)
  }
}

/**
 * Encodes a header value as ASCII if it needs to be: `ali-oss` throws on other characters (its README,
 * headerEncoding), and HTTP drops spaces at its ends. Then `%` is encoded as well, so that it can be decoded.
 */
function percentEncode(value: string): string {
  if (/^(?! )[\x20-\x7e]*$(?<! )/.test(value)) return value
  const wellFormed = value.toWellFormed()
  let end = wellFormed.length
  while (end > 0 && wellFormed[end - 1] === ' ') end-- // a pattern would take the square of the spaces
  const start = wellFormed.slice(0, end).replace(/%|[^\x20-\x7e]|^ +/gu, encodeURIComponent)
  return start + '%20'.repeat(wellFormed.length - end)
}

function base64(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString('base64')
}
