/** GetObject, HeadObject and GetObjectMeta. */
import { invalidArgument, OssError } from '../oss-error.js'
import { emptyReply, type Reply } from '../reply.js'
import type { ByteSpan } from '../store/stored-body.js'
import type { ObjectRecord } from '../store/record.js'
import { findVersion, versionIdOf } from '../store/versions.js'
import { httpTime, type ObjectAddress, type OperationContext } from './operation-context.js'
import { checkConditions } from './conditions.js'
import { encryptionHeaders } from './encryption.js'
import { restoreHeader } from './restore-state.js'
import { parseRange } from './range.js'
import { STORED_HEADERS } from './object-metadata.js'
import { checkTrafficLimit } from './traffic-limit.js'
import { deleteMarkerHeaders, versionHeader } from './versioning.js'

/** Number of attempts to read an object while it is being replaced. */
const MAX_READ_ATTEMPTS = 20

export async function getObject(context: OperationContext): Promise<Reply> {
  const { store, bucket, headers, query, signed } = context
  checkTrafficLimit(context)
  for (let attempt = 0; attempt < MAX_READ_ATTEMPTS; attempt++) {
    const record = await requireObject(context)
    const objectReplyHeaders = objectHeaders(context, record)
    if (checkConditions(headers, record) === 'unmodified')
      return emptyReply(304, objectReplyHeaders)
    const overrides = responseOverrides(query, signed)
    const isStandardBehavior = headers.get('x-oss-range-behavior')?.toLowerCase() === 'standard'
    const range = parseRange(headers.get('range'), record.size, isStandardBehavior)
    if (range === 'unsatisfiable')
      throw new OssError('InvalidRange', {
        headers: { 'Content-Range': `bytes */${record.size}` },
        extra: {
          ActualObjectSize: String(record.size),
          RangeRequested: headers.get('range') ?? '',
        },
      })
    const span: ByteSpan = typeof range === 'object' ? range : { offset: 0, length: record.size }
    const body = await store.objects.read(bucket, record, span)
    if (body === undefined) continue
    const partial = typeof range === 'object'
    return {
      status: partial ? 206 : 200,
      headers: {
        ...objectReplyHeaders,
        ...overrides,
        'Content-Length': String(span.length),
        ...(partial ? { 'Content-Range': contentRange(span, record.size) } : {}),
      },
      body,
    }
  }
  throw new OssError('InternalError')
}

const contentRange = ({ offset, length }: ByteSpan, size: number): string =>
  `bytes ${offset}-${offset + length - 1}/${size}`

export async function headObject(context: OperationContext): Promise<Reply> {
  const record = await requireObject(context)
  const objectReplyHeaders = objectHeaders(context, record)
  if (checkConditions(context.headers, record) === 'unmodified')
    return emptyReply(304, objectReplyHeaders)
  return emptyReply(200, { ...objectReplyHeaders, 'Content-Length': String(record.size) })
}

export async function getObjectMeta(context: OperationContext): Promise<Reply> {
  const record = await requireObject(context)
  return emptyReply(200, {
    'Content-Length': String(record.size),
    ETag: `"${record.etag}"`,
    'Last-Modified': httpTime(record.modified),
    ...versionHeader(context, record),
    ...crc64Header(record),
  })
}

/**
 * Resolves with a version of an object, also if it is a symlink. Throws 404 NoSuchKey or NoSuchVersion, or 405
 * MethodNotAllowed for the id of a delete marker.
 */
export async function requireVersion(
  { store }: OperationContext,
  { bucket, key, versionId }: ObjectAddress,
): Promise<ObjectRecord> {
  const version = findVersion(await store.objects.versions(bucket, key), versionId)
  if (version === undefined) {
    if (versionId === undefined) throw noSuchKey(key)
    throw new OssError('NoSuchVersion', { extra: { Key: key, VersionId: versionId } })
  }
  if (version.type !== 'DeleteMarker') return version
  const headers = deleteMarkerHeaders(version)
  if (versionId === undefined) throw noSuchKey(key, headers)
  throw new OssError('MethodNotAllowed', { headers: { ...headers, Allow: 'DELETE' } })
}

/** Resolves with the version that the request names, also if it is a symlink; throws like `requireVersion`. */
export function requireLink(context: OperationContext): Promise<ObjectRecord> {
  const { bucket, key, query } = context
  return requireVersion(context, { bucket, key, versionId: query.get('versionId') })
}

/** Changes the metadata of the version that the request names; throws like `requireVersion`. */
export async function updateObject(
  context: OperationContext,
  edit: (old: ObjectRecord) => ObjectRecord,
): Promise<ObjectRecord> {
  const { store, bucket, key } = context
  const versionId = versionIdOf(await requireLink(context))
  const changed = await store.objects.update(bucket, key, versionId, edit)
  if (changed === undefined) throw noSuchKey(key)
  return changed
}

/**
 * Resolves with the version that the request names. For a symlink it has the bytes of the target and the metadata of the
 * link. Throws like `requireVersion`, 404 SymlinkTargetNotExist, or 400 InvalidTargetType.
 */
export async function requireObject(context: OperationContext): Promise<ObjectRecord> {
  const link = await requireLink(context)
  if (link.target === undefined) return link
  const target = await context.store.objects.get(context.bucket, link.target)
  if (target === undefined) throw new OssError('SymlinkTargetNotExist')
  if (target.type === 'Symlink') throw new OssError('InvalidTargetType')
  const { headers, meta, tags, storageClass } = link
  const versionId = versionIdOf(link)
  return { ...target, headers, meta, tags, storageClass, versionId, type: 'Symlink' }
}

/** Returns 404 NoSuchKey. */
export function noSuchKey(key: string, headers: Record<string, string> = {}): OssError {
  return new OssError('NoSuchKey', { extra: { Key: key }, headers })
}

/** Returns `x-oss-hash-crc64ecma` if the object has a CRC-64. */
export function crc64Header({ crc64 }: ObjectRecord): Record<string, string> {
  return crc64 === undefined ? {} : { 'x-oss-hash-crc64ecma': crc64 }
}

function objectHeaders(context: OperationContext, record: ObjectRecord): Record<string, string> {
  const headers: Record<string, string> = {
    'Content-Type': 'application/octet-stream',
    'Accept-Ranges': 'bytes',
    ETag: `"${record.etag}"`,
    'Last-Modified': httpTime(record.modified),
    'x-oss-object-type': record.type,
    'x-oss-storage-class': record.storageClass,
    ...crc64Header(record),
    ...encryptionHeaders(record),
    ...restoreHeader(record, context.now),
    ...versionHeader(context, record),
  }
  if (record.md5 !== undefined) headers['Content-MD5'] = record.md5
  if (record.type === 'Appendable') headers['x-oss-next-append-position'] = String(record.size)
  if (record.tags.length > 0) headers['x-oss-tagging-count'] = String(record.tags.length)
  for (const [name, value] of Object.entries(record.headers))
    headers[capitalizeHeaderName(name)] = value
  for (const [name, value] of Object.entries(record.meta)) headers[`x-oss-meta-${name}`] = value
  return headers
}

const capitalizeHeaderName = (name: string): string =>
  name.replace(/(^|-)[a-z]/g, start => start.toUpperCase())

function responseOverrides(
  query: ReadonlyMap<string, string>,
  signed: boolean,
): Record<string, string> {
  const headers: Record<string, string> = {}
  for (const name of STORED_HEADERS) {
    const value = query.get(`response-${name}`)
    if (value === undefined) continue
    if (!signed)
      throw new OssError('InvalidRequest', {
        message: 'An anonymous request must not override response headers.',
      })
    // oxlint-disable-next-line no-control-regex -- control characters would split the header
    if (/[\u0000-\u001f\u007f]/.test(value))
      throw invalidArgument(`response-${name}`, value, 'Illegal header value.')
    headers[capitalizeHeaderName(name)] = Buffer.from(value).toString('latin1')
  }
  return headers
}
