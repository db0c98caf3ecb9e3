/** Object metadata from the headers of PutObject, Initiate, Copy and Append. */
import { invalidArgument, OssError } from '../oss-error.js'
import type { HeaderMap } from '../http/headers.js'
import type { ObjectAcl, ObjectMetadata, Tag } from '../store/record.js'
import { percentDecode } from '../http/request-target.js'
import { parseEncryption } from './encryption.js'
import { checkObjectTags } from './tag-rules.js'

/** Headers that are stored and returned with the object. */
export const STORED_HEADERS = [
  'content-type',
  'cache-control',
  'content-disposition',
  'content-encoding',
  'content-language',
  'expires',
] as const

const SUPPORTED_STORAGE_CLASSES = ['Standard', 'IA', 'Archive', 'ColdArchive', 'DeepColdArchive']
const META_PREFIX = 'x-oss-meta-'
const MAX_META_BYTES = 8 * 1024

/** Headers whose meaning OSS does not implement for writes. */
const UNSUPPORTED_WRITE_HEADERS = [
  'if-match',
  'if-none-match',
  'if-modified-since',
  'if-unmodified-since',
]

/**
 * Checks and returns the metadata of an object.
 *
 * @param fallbackClass – the bucket's storage class
 */
export function metadataOf(headers: HeaderMap, fallbackClass: string): ObjectMetadata {
  refuseConditions(headers)
  return { ...uploadMetadataOf(headers, fallbackClass), acl: objectAclOf(headers) }
}

/** Throws 400 NotImplemented, naming the header, if a write has a condition. */
export function refuseConditions(headers: HeaderMap): void {
  const name = UNSUPPORTED_WRITE_HEADERS.find(each => headers.has(each))
  if (name === undefined) return
  throw new OssError('NotImplemented', { extra: { Header: name, Value: headers.get(name) ?? '' } })
}

/**
 * Checks and returns the metadata of a multipart upload. The service ignores conditions and the ACL here;
 * Complete sets the ACL.
 */
export function uploadMetadataOf(headers: HeaderMap, fallbackClass: string): ObjectMetadata {
  const encryption = parseEncryption(headers)
  return {
    headers: storedHeaders(headers),
    meta: userMetadataOf(headers),
    storageClass: parseStorageClass(headers.get('x-oss-storage-class'), fallbackClass),
    acl: 'default',
    tags: parseTagsHeader(headers.get('x-oss-tagging')),
    ...(encryption === undefined ? {} : { encryption }),
  }
}

/** Returns the ACL that the headers request. */
export function objectAclOf(headers: HeaderMap): ObjectAcl {
  return parseObjectAcl(headers.get('x-oss-object-acl') ?? 'default')
}

export function storedHeaders(headers: HeaderMap): Record<string, string> {
  const stored: Record<string, string> = {}
  for (const name of STORED_HEADERS) {
    const value = headers.get(name)
    if (value !== undefined && value !== '') stored[name] = value
  }
  return stored
}

export function userMetadataOf(headers: HeaderMap): Record<string, string> {
  const meta: Record<string, string> = {}
  let size = 0
  for (const [name, value] of headers)
    if (name.startsWith(META_PREFIX)) {
      if (!/^[a-z0-9-]+$/.test(name.slice(META_PREFIX.length)))
        throw invalidArgument(name, value, 'The user metadata key is invalid.', '0011-00000004')
      meta[name.slice(META_PREFIX.length)] = value
      size += name.length + value.length
    }
  if (size >= MAX_META_BYTES)
    throw new OssError('InvalidArgument', {
      message: 'The total size of user metadata must be less than 8 KB.',
      ec: '0011-00000002',
    })
  return meta
}

export function parseStorageClass(value: string | undefined, fallback: string): string {
  if (value === undefined) return fallback
  if (!SUPPORTED_STORAGE_CLASSES.includes(value))
    throw invalidArgument('x-oss-storage-class', value, 'The storage class is invalid.')
  return value
}

export function parseObjectAcl(value: string): ObjectAcl {
  const acl = (['default', 'private', 'public-read', 'public-read-write'] as const).find(
    known => known === value,
  )
  if (acl === undefined)
    throw invalidArgument('x-oss-object-acl', value, 'no such object access control exists')
  return acl
}

/** Parses tags in the form `k1=v1&k2=v2`, percent-encoded. */
export function parseTagsHeader(value: string | undefined): Tag[] {
  if (value === undefined || value === '') return []
  return checkObjectTags(
    value.split('&').map((pair): Tag => {
      const [key = '', ...rest] = pair.split('=')
      const decode = (text: string) => percentDecode(text.replaceAll('+', ' ')) ?? text
      return [decode(key), decode(rest.join('='))]
    }),
  )
}
