/** CopyObject and UploadPartCopy: from an object of this emulator, whose bytes are linked, not copied. */
import { invalidArgument, OssError } from '../oss-error.js'
import { emptyReply, xmlReply, type Reply } from '../reply.js'
import { percentDecode } from '../http/target.js'
import { removeFile } from '../store/files.js'
import type { ObjectRecord, ObjectTraits } from '../store/record.js'
import { isoTime, type Call } from './call.js'
import { checkConditions } from './conditions.js'
import { noSuchUpload, partNumberOf, theUpload } from './multipart.js'
import { gone } from './object-read.js'
import { bucketClass, encryptionHeader, forbidsOverwrite, refuseExisting } from './object-write.js'
import { parseRange } from './range.js'
import { save } from './receive.js'
import { traitsOf } from './traits.js'

/** CopyObject takes objects up to so many bytes: 1 GB. */
const MAX_COPY = 1024 ** 3

/** How often a copy starts again when its source is replaced under its hands. */
const ATTEMPTS = 20

interface Source {
  readonly bucket: string
  readonly key: string
}

export async function copyObject(call: Call): Promise<Reply> {
  const { store, bucket, key, settings } = call
  const from = sourceOf(call)
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const source = await sourceRecord(call, from)
    if (checkConditions(call.headers, source, 'x-oss-copy-source-') === 'unmodified')
      return emptyReply(304)
    if (source.size > MAX_COPY)
      throw new OssError('InvalidRequest', {
        message:
          'The specified copy source is larger than the maximum allowable size for a copy source: 1073741824',
      })
    const traits = await copiedTraits(call, source)
    const bytes = settings.discard
      ? ({ kind: 'none' } as const)
      : await store.objects.link(from.bucket, source)
    if (bytes === undefined) continue
    const record = await store.objects.put(bucket, key, bytes, old => {
      if (forbidsOverwrite(call)) refuseExisting(old)
      const { body: _body, ...facts } = source
      return {
        ...facts,
        ...traits,
        key,
        type: source.type === 'Appendable' ? 'Normal' : source.type,
        modified: isoTime(call.now),
      }
    })
    return xmlReply(
      'CopyObjectResult',
      { LastModified: record.modified, ETag: `"${record.etag}"` },
      {
        ...(record.crc64 === undefined ? {} : { 'x-oss-hash-crc64ecma': record.crc64 }),
        ...encryptionHeader(record),
      },
    )
  }
  throw new OssError('InternalError')
}

export async function uploadPartCopy(call: Call): Promise<Reply> {
  const { store, bucket, settings, headers } = call
  const number = partNumberOf(call)
  const upload = await theUpload(call, 'copy')
  const from = sourceOf(call)
  const source = await sourceRecord(call, from)
  if (checkConditions(headers, source, 'x-oss-copy-source-') === 'unmodified')
    return emptyReply(304)
  const range = parseRange(headers.get('x-oss-copy-source-range'), source.size, false)
  const span = typeof range === 'object' ? range : { offset: 0, length: source.size }
  const bytes = await store.objects.read(from.bucket, source, span)
  if (bytes === undefined) throw gone(from.key)
  const file = store.fresh()
  try {
    const digest = await save(bytes, file, settings)
    const part = await store.uploads.putPart(bucket, upload, number, file, digest)
    if (part === undefined) throw noSuchUpload(upload.id, 'copy')
    const etag = `"${part.md5}"`
    return xmlReply(
      'CopyPartResult',
      { LastModified: isoTime(part.modified), ETag: etag },
      { ETag: etag }, // where ali-oss reads it
    )
  } finally {
    await removeFile(file)
  }
}

/** `x-oss-copy-source`: `/bucket/key`, the key percent-encoded. */
function sourceOf({ headers }: Call): Source {
  const text = headers.get('x-oss-copy-source') ?? ''
  const [path = '', query] = text.split('?')
  const [, bucket, raw] = /^\/?([^/]+)\/(.+)$/s.exec(path) ?? []
  const key = raw === undefined ? undefined : percentDecode(raw)
  if (bucket === undefined || key === undefined || (query && query !== 'versionId=null'))
    throw invalidArgument('x-oss-copy-source', text, 'The copy source is invalid.')
  return { bucket, key }
}

async function sourceRecord(call: Call, { bucket, key }: Source): Promise<ObjectRecord> {
  await call.mayRead(bucket, key)
  const record = await call.store.objects.get(bucket, key)
  if (record === undefined) throw gone(key)
  return record
}

/** What the copy says about itself: what the source says, or what the request says. */
async function copiedTraits(call: Call, source: ObjectRecord): Promise<ObjectTraits> {
  const { headers } = call
  const asked = traitsOf(headers, await bucketClass(call))
  const replaces = directive(call, 'x-oss-metadata-directive')
  const retags = directive(call, 'x-oss-tagging-directive')
  return {
    ...asked,
    headers: replaces ? asked.headers : source.headers,
    meta: replaces ? asked.meta : source.meta,
    tags: retags ? asked.tags : source.tags,
  }
}

function directive({ headers }: Call, name: string): boolean {
  const value = (headers.get(name) ?? 'COPY').toUpperCase()
  if (value !== 'COPY' && value !== 'REPLACE')
    throw invalidArgument(name, value, `The ${name} is invalid.`)
  return value === 'REPLACE'
}
