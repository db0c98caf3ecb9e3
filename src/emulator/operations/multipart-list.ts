/** ListParts and ListMultipartUploads. */
import { invalidArgument } from '../oss-error.js'
import { xmlReply, type Reply } from '../reply.js'
import { isoTime } from '../iso-time.js'
import type { OperationContext } from './operation-context.js'
import { readNameEncoding } from './name-encoding.js'
import { compareKeys, paginate } from './pagination.js'
import { noSuchUpload, requireUpload } from './multipart.js'

export async function listParts(context: OperationContext): Promise<Reply> {
  const { store, bucket, key, query } = context
  const max = integerParameter(query, 'max-parts', 1000, 1000)
  const marker = integerParameter(query, 'part-number-marker', 0, Number.MAX_SAFE_INTEGER, 0)
  const upload = await requireUpload(context, 'list')
  const stored = await store.uploads.listParts(bucket, upload)
  if (stored === undefined) throw noSuchUpload(upload.id, 'list')
  const parts = stored.filter(part => part.number > marker)
  const shown = parts.slice(0, max)
  const { encodeName, encoding } = readNameEncoding(context)
  return xmlReply('ListPartsResult', {
    ...encoding,
    Bucket: bucket,
    Key: encodeName(key),
    UploadId: upload.id,
    StorageClass: upload.storageClass,
    PartNumberMarker: marker,
    NextPartNumberMarker: shown.at(-1)?.number ?? marker,
    MaxParts: max,
    IsTruncated: parts.length > max,
    Part: shown.map(part => ({
      PartNumber: part.number,
      LastModified: isoTime(part.modified),
      ETag: `"${part.md5}"`,
      HashCrc64ecma: part.crc64 === undefined ? undefined : String(part.crc64),
      Size: part.size,
    })),
  })
}

export async function listMultipartUploads(context: OperationContext): Promise<Reply> {
  const { store, bucket, query } = context
  const max = integerParameter(query, 'max-uploads', 1000, 1000)
  const prefix = query.get('prefix') ?? ''
  const delimiter = query.get('delimiter') ?? ''
  const keyMarker = query.get('key-marker') ?? ''
  const idMarker = keyMarker === '' ? '' : (query.get('upload-id-marker') ?? '')
  const uploads = (await store.uploads.list(bucket)).toSorted(
    (a, b) => compareKeys(a.key, b.key) || (a.id < b.id ? -1 : 1),
  )
  const page = await paginate(uploads, {
    keyOf: upload => upload.key,
    prefix,
    delimiter,
    maxItems: max,
    // without an id marker the marker's key is skipped; with one, its uploads after that id follow
    isAfterMarker: ({ key, id }) => {
      if (keyMarker === '') return true
      const order = compareKeys(key, keyMarker)
      return order > 0 || (order === 0 && idMarker !== '' && id > idMarker)
    },
    marker: keyMarker,
    loadItem: upload => Promise.resolve(upload),
  })
  const lastUpload = page.items.at(-1)
  const { encodeName, encoding } = readNameEncoding(context)
  const lastIsPrefix = page.lastName !== undefined && page.lastName !== lastUpload?.key
  return xmlReply('ListMultipartUploadsResult', {
    ...encoding,
    Bucket: bucket,
    KeyMarker: encodeName(keyMarker),
    UploadIdMarker: idMarker,
    NextKeyMarker: encodeName(page.lastName ?? ''),
    NextUploadIdMarker: lastIsPrefix ? '' : (lastUpload?.id ?? ''),
    Delimiter: encodeName(delimiter),
    Prefix: encodeName(prefix),
    MaxUploads: max,
    IsTruncated: page.truncated,
    Upload: page.items.map(upload => ({
      Key: encodeName(upload.key),
      UploadId: upload.id,
      StorageClass: upload.storageClass,
      Initiated: upload.initiated,
    })),
    CommonPrefixes: page.prefixes.map(commonPrefix => ({ Prefix: encodeName(commonPrefix) })),
  })
}

/** Parses an integer parameter of the query; throws 400 InvalidArgument outside `min` to `max`. */
export function integerParameter(
  query: ReadonlyMap<string, string>,
  name: string,
  fallback: number,
  max: number,
  min = 1,
): number {
  const text = query.get(name)
  if (text === undefined || text === '') return fallback
  const value = Number(text)
  if (!/^\d+$/.test(text) || value < min || value > max)
    throw invalidArgument(name, text, `Argument ${name} must be between ${min} and ${max}.`)
  return value
}
