/** ListParts and ListMultipartUploads. */
import { invalidArgument } from '../oss-error.js'
import { xmlReply, type Reply } from '../reply.js'
import { isoTime, type Call } from './call.js'
import { encodedKey } from './encoding.js'
import { compareKeys, page } from './listing.js'
import { theUpload } from './multipart.js'

export async function listParts(call: Call): Promise<Reply> {
  const { store, bucket, key, query } = call
  const max = count(query, 'max-parts', 1000, 1000)
  const marker = count(query, 'part-number-marker', 0, Number.MAX_SAFE_INTEGER, 0)
  const upload = await theUpload(call, 'list')
  const parts = (await store.uploads.parts(bucket, upload.id)).filter(p => p.number > marker)
  const shown = parts.slice(0, max)
  const { name, encoding } = encodedKey(call)
  return xmlReply('ListPartsResult', {
    ...encoding,
    Bucket: bucket,
    Key: name(key),
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

export async function listMultipartUploads(call: Call): Promise<Reply> {
  const { store, bucket, query } = call
  const max = count(query, 'max-uploads', 1000, 1000)
  const prefix = query.get('prefix') ?? ''
  const delimiter = query.get('delimiter') ?? ''
  const keyMarker = query.get('key-marker') ?? ''
  const idMarker = keyMarker === '' ? '' : (query.get('upload-id-marker') ?? '')
  const uploads = (await store.uploads.list(bucket)).toSorted(
    (a, b) => compareKeys(a.key, b.key) || (a.id < b.id ? -1 : 1),
  )
  const listed = await page(uploads, {
    keyOf: upload => upload.key,
    prefix,
    delimiter,
    max,
    // without an id the marker's key is over, with one the uploads behind that id are next
    after: ({ key, id }) => {
      if (keyMarker === '') return true
      const order = compareKeys(key, keyMarker)
      return order > 0 || (order === 0 && idMarker !== '' && id > idMarker)
    },
    afterPrefix: keyMarker,
    load: upload => Promise.resolve(upload),
  })
  const last = listed.items.at(-1)
  const { name, encoding } = encodedKey(call)
  const lastIsPrefix = listed.last !== undefined && listed.last !== last?.key
  return xmlReply('ListMultipartUploadsResult', {
    ...encoding,
    Bucket: bucket,
    KeyMarker: name(keyMarker),
    UploadIdMarker: idMarker,
    NextKeyMarker: name(listed.last ?? ''),
    NextUploadIdMarker: lastIsPrefix ? '' : (last?.id ?? ''),
    Delimiter: name(delimiter),
    Prefix: name(prefix),
    MaxUploads: max,
    IsTruncated: listed.truncated,
    Upload: listed.items.map(upload => ({
      Key: name(upload.key),
      UploadId: upload.id,
      StorageClass: upload.storageClass,
      Initiated: upload.initiated,
    })),
    CommonPrefixes: listed.prefixes.map(found => ({ Prefix: name(found) })),
  })
}

/** A number from the query; beyond `most` it is 400. */
export function count(
  query: ReadonlyMap<string, string>,
  name: string,
  fallback: number,
  most: number,
  least = 1,
): number {
  const text = query.get(name)
  if (text === undefined || text === '') return fallback
  const value = Number(text)
  if (!/^\d+$/.test(text) || value < least || value > most)
    throw invalidArgument(name, text, `Argument ${name} must be between ${least} and ${most}.`)
  return value
}
