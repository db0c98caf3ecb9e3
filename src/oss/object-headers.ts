/**
 * What a user may say about the object (type, metadata, ACL, tags, callback, ...), turned into the
 * headers of OSS. Pure: the same options always give the same headers, so their digest tells whether
 * an upload id of an earlier run can be used again (rule 4).
 */
import { invalidType, invalidValue } from '../errors.js'
import { TOKEN_HEADER, type Headers } from './bucket.js'

/** The callback OSS makes when the object is complete, as `ali-oss` takes it. */
export interface CallbackOptions {
  /** Where OSS posts to: one URL, or up to five with `;` between them. */
  readonly url: string
  /** What it posts; `${bucket}`, `${object}`, `${size}`, ... are filled in by OSS. */
  readonly body: string
  /** Host header of that request. Default: the host of `url`. */
  readonly host?: string
  /** Its Content-Type. Default: `application/x-www-form-urlencoded`. */
  readonly contentType?: string
  /** Whether OSS names the host when it opens TLS. Default `false`. */
  readonly callbackSNI?: boolean
  /** Sent as `x:name` variables. */
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

/** What the object is to be like on OSS. All of it is recorded in the checkpoint. */
export interface ObjectOptions {
  /** Any other header of PutObject/InitiateMultipartUpload; never a credential. */
  readonly headers?: Readonly<Record<string, string>>
  /** User metadata without the `x-oss-meta-` prefix; at most 8 KiB. Other than ASCII is percent-encoded. */
  readonly meta?: Readonly<Record<string, string>>
  /** Content-Type. Default: by the key's extension. */
  readonly mime?: string
  /** Default: that of the bucket. */
  readonly storageClass?: (typeof STORAGE_CLASSES)[number]
  /** Who may read and write it. Default: as the bucket says. */
  readonly acl?: (typeof ACLS)[number]
  /** Tags of the object: 10 at most. */
  readonly tags?: Readonly<Record<string, string>>
  /** `false`: an object that is there already is never replaced. */
  readonly overwrite?: boolean
  /** Asks OSS to call a server when the object is there. A callback that fails is a warning: the object is stored. */
  readonly callback?: CallbackOptions
}

/** Headers that `ali-oss`, the transport or the other options own. */
const RESERVED =
  /^(authorization|host|date|content-length|content-md5|transfer-encoding|connection|keep-alive|te|trailer|upgrade|expect|x-oss-(meta-oss-spool-token|copy-source.*|date|security-token|content-sha256|hash-crc64ecma|forbid-overwrite|callback|callback-var)|proxy-authorization|cookie)$/
/** What our token takes of the 8 KiB. */
const TOKEN_BYTES = 'oss-spool-token'.length + 36
const HEADER_NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/
const HEADER_VALUE = /^[\t\x20-\x7e]*$/

/**
 * The headers of Initiate and of PutObject.
 * @throws TypeError for a header or metadata that cannot be sent.
 */
export function initiationHeaders(object: ObjectOptions): Headers {
  const headers: Record<string, string> = {}
  for (const [name, value] of Object.entries(object.headers ?? {})) {
    const lower = name.toLowerCase()
    if (!HEADER_NAME.test(name)) throw invalidValue('headers', 'must have valid header names', name)
    if (RESERVED.test(lower)) throw invalidValue('headers', 'must not set this header', name)
    if (!HEADER_VALUE.test(value))
      throw invalidValue('headers', `has a bad value for ${name}`, value)
    headers[lower] = value
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
 * The headers of Complete; those of PutObject in addition to `initiationHeaders`. The ACL is among
 * them because OSS takes it from Complete and ignores it at Initiate (aliyun-oss-go-sdk, live tests).
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

/** Checks types before any work: options come from JavaScript, too. */
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
  if (mime !== undefined && !/^[\x21-\x7e]+\/[\x20-\x7e]+$/.test(mime)) {
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
  initiationHeaders(object)
}

/** All of it is recorded in the checkpoint, so all of it is checked. */
function checkCallback(callback: unknown): void {
  if (!isPlain(callback)) {
    throw invalidType('callback', 'an object with a "url" and a "body"', callback)
  }
  // Nothing is assumed of its properties: each is checked below.
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
    } else throw invalidValue(full, 'is not known', value)
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

/** Not a `Map`, `Headers` or `Date`, whose entries would be lost without a word. */
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

/** Header values are ASCII on the wire; `ali-oss` throws on others (its README, headerEncoding). */
function percentEncode(value: string): string {
  return value.toWellFormed().replace(/[^\x20-\x7e]/gu, encodeURIComponent)
}

function base64(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString('base64')
}
