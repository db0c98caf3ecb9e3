/** GetObject, HeadObject and GetObjectMeta. */
import { invalidArgument, OssError } from '../oss-error.js'
import { emptyReply, type Reply } from '../reply.js'
import type { Span } from '../store/body.js'
import type { ObjectRecord } from '../store/record.js'
import { httpTime, type Call } from './call.js'
import { checkConditions } from './conditions.js'
import { encryptionHeader } from './object-write.js'
import { parseRange } from './range.js'
import { STORED_HEADERS } from './traits.js'

/** How often a read starts again when the object is replaced under its hands. */
const ATTEMPTS = 20

export async function getObject(call: Call): Promise<Reply> {
  const { store, bucket, headers, query, signed } = call
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const record = await existing(call)
    const known = objectHeaders(record)
    if (checkConditions(headers, record) === 'unmodified') return emptyReply(304, known)
    const overrides = responseOverrides(query, signed)
    const standard = headers.get('x-oss-range-behavior')?.toLowerCase() === 'standard'
    const range = parseRange(headers.get('range'), record.size, standard)
    if (range === 'unsatisfiable')
      throw new OssError('InvalidRange', {
        headers: { 'Content-Range': `bytes */${record.size}` },
        extra: {
          ActualObjectSize: String(record.size),
          RangeRequested: headers.get('range') ?? '',
        },
      })
    const span: Span = typeof range === 'object' ? range : { offset: 0, length: record.size }
    const body = await store.objects.read(bucket, record, span)
    if (body === undefined) continue
    const partial = typeof range === 'object'
    return {
      status: partial ? 206 : 200,
      headers: {
        ...known,
        ...overrides,
        'Content-Length': String(span.length),
        ...(partial ? { 'Content-Range': contentRange(span, record.size) } : {}),
      },
      body,
    }
  }
  throw new OssError('InternalError')
}

const contentRange = ({ offset, length }: Span, size: number): string =>
  `bytes ${offset}-${offset + length - 1}/${size}`

export async function headObject(call: Call): Promise<Reply> {
  const record = await existing(call)
  const known = objectHeaders(record)
  if (checkConditions(call.headers, record) === 'unmodified') return emptyReply(304, known)
  return emptyReply(200, { ...known, 'Content-Length': String(record.size) })
}

export async function getObjectMeta(call: Call): Promise<Reply> {
  const record = await existing(call)
  return emptyReply(200, {
    'Content-Length': String(record.size),
    ETag: `"${record.etag}"`,
    'Last-Modified': httpTime(record.modified),
    ...crc64Header(record),
  })
}

/** The object, or 404 NoSuchKey. */
export async function existing({ store, bucket, key }: Call): Promise<ObjectRecord> {
  const record = await store.objects.get(bucket, key)
  if (record === undefined) throw gone(key)
  return record
}

/** 404 NoSuchKey. */
export function gone(key: string): OssError {
  return new OssError('NoSuchKey', { extra: { Key: key } })
}

/** `x-oss-hash-crc64ecma`, where the object has one. */
export function crc64Header({ crc64 }: ObjectRecord): Record<string, string> {
  return crc64 === undefined ? {} : { 'x-oss-hash-crc64ecma': crc64 }
}

function objectHeaders(record: ObjectRecord): Record<string, string> {
  const headers: Record<string, string> = {
    'Content-Type': 'application/octet-stream',
    'Accept-Ranges': 'bytes',
    ETag: `"${record.etag}"`,
    'Last-Modified': httpTime(record.modified),
    'x-oss-object-type': record.type,
    'x-oss-storage-class': record.storageClass,
    ...crc64Header(record),
    ...encryptionHeader(record),
  }
  if (record.md5 !== undefined) headers['Content-MD5'] = record.md5
  if (record.type === 'Appendable') headers['x-oss-next-append-position'] = String(record.size)
  if (record.tags.length > 0) headers['x-oss-tagging-count'] = String(record.tags.length)
  for (const [name, value] of Object.entries(record.headers)) headers[wireName(name)] = value
  for (const [name, value] of Object.entries(record.meta)) headers[`x-oss-meta-${name}`] = value
  return headers
}

const wireName = (name: string): string => name.replace(/(^|-)[a-z]/g, start => start.toUpperCase())

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
    // oxlint-disable-next-line no-control-regex -- what would split the header
    if (/[\u0000-\u001f\u007f]/.test(value))
      throw invalidArgument(`response-${name}`, value, 'Illegal header value.')
    headers[wireName(name)] = Buffer.from(value).toString('latin1')
  }
  return headers
}
