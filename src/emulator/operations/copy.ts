/**
 * CopyObject and UploadPartCopy, from objects of the same emulator. CopyObject links the bytes instead of
 * copying them.
 */
import { invalidArgument, OssError } from '../oss-error.js'
import { emptyReply, xmlReply, type Reply } from '../reply.js'
import { percentDecode } from '../http/request-target.js'
import { removeFile } from '../store/files.js'
import { discardStaged, type StagedBody } from '../store/object-dir.js'
import type { ObjectRecord, ObjectMetadata } from '../store/record.js'
import { newVersionId } from '../store/versions.js'
import { isoTime } from '../iso-time.js'
import type { ObjectAddress, OperationContext } from './operation-context.js'
import { encryptionHeaders } from './encryption.js'
import { checkConditions } from './conditions.js'
import { noSuchUpload, parsePartNumber, requireUpload } from './multipart.js'
import { requireVersion } from './object-read.js'
import { defaultStorageClass, forbidsOverwrite, throwIfExists } from './object-write.js'
import { parseRange } from './range.js'
import { writeAndDigest } from './receive-body.js'
import { objectAclOf, uploadMetadataOf } from './object-metadata.js'
import { versionHeader } from './versioning.js'

/** Maximum size of the source of CopyObject: 1 GB. */
const MAX_COPY_BYTES = 1024 ** 3

/** Number of attempts to copy while the source is being replaced. */
const MAX_COPY_ATTEMPTS = 20

export async function copyObject(context: OperationContext): Promise<Reply> {
  const { store, key, settings } = context
  const copySource = parseCopySource(context)
  for (let attempt = 0; attempt < MAX_COPY_ATTEMPTS; attempt++) {
    const source = await getSourceObject(context, copySource)
    if (checkConditions(context.headers, source, 'x-oss-copy-source-') === 'unmodified')
      return emptyReply(304)
    if (source.size > MAX_COPY_BYTES)
      throw new OssError('InvalidRequest', {
        message:
          'The specified copy source is larger than the maximum allowable size for a copy source: 1073741824',
      })
    const metadata = await copiedMetadata(context, source)
    const bytes = settings.discard
      ? ({ kind: 'none' } as const)
      : await store.objects.linkBody(copySource.bucket, source)
    if (bytes === undefined) continue
    const record = await putOrDiscard(context, bytes, old => {
      if (forbidsOverwrite(context)) throwIfExists(old)
      return {
        ...contentOf(source),
        ...metadata,
        key,
        ...newVersionId(context.versioning),
        type: source.type === 'Appendable' ? 'Normal' : source.type,
        modified: isoTime(context.now),
      }
    })
    return xmlReply(
      'CopyObjectResult',
      { LastModified: record.modified, ETag: `"${record.etag}"` },
      {
        ...(record.crc64 === undefined ? {} : { 'x-oss-hash-crc64ecma': record.crc64 }),
        ...encryptionHeaders(record),
        ...versionHeader(context, record),
        ...sourceVersionHeader(copySource, source),
      },
    )
  }
  throw new OssError('InternalError')
}

/** Adds the copy, or removes its bytes if it is refused. */
async function putOrDiscard(
  { store, bucket, key }: OperationContext,
  bytes: StagedBody,
  createRecord: (old: ObjectRecord | undefined) => Omit<ObjectRecord, 'body'>,
): Promise<ObjectRecord> {
  try {
    return await store.objects.put(bucket, key, bytes, createRecord)
  } catch (error) {
    await discardStaged(bytes)
    throw error
  }
}

export async function uploadPartCopy(context: OperationContext): Promise<Reply> {
  const { store, bucket, settings, headers } = context
  const number = parsePartNumber(context)
  const upload = await requireUpload(context, 'copy')
  const copySource = parseCopySource(context)
  for (let attempt = 0; attempt < MAX_COPY_ATTEMPTS; attempt++) {
    const source = await getSourceObject(context, copySource)
    if (checkConditions(headers, source, 'x-oss-copy-source-') === 'unmodified')
      return emptyReply(304)
    const range = parseRange(headers.get('x-oss-copy-source-range'), source.size, false)
    const span = typeof range === 'object' ? range : { offset: 0, length: source.size }
    const bytes = await store.objects.read(copySource.bucket, source, span)
    if (bytes === undefined) continue
    const file = store.tempPath()
    try {
      const digest = await writeAndDigest({ chunks: bytes, length: span.length }, file, settings)
      const kept = settings.discard ? undefined : file
      const part = await store.uploads.putPart(bucket, upload, number, kept, digest)
      if (part === undefined) throw noSuchUpload(upload.id, 'copy')
      const etag = `"${part.md5}"`
      return xmlReply(
        'CopyPartResult',
        { LastModified: isoTime(part.modified), ETag: etag },
        // ali-oss reads the ETag from the header
        { ETag: etag, ...sourceVersionHeader(copySource, source) },
      )
    } finally {
      bytes.destroy()
      await removeFile(file)
    }
  }
  throw new OssError('InternalError')
}

/** Parses `x-oss-copy-source`, which is `/bucket/key` with a percent-encoded key, and `?versionId=ID` or nothing. */
function parseCopySource({ headers }: OperationContext): ObjectAddress {
  const text = headers.get('x-oss-copy-source') ?? ''
  const [path = '', query] = text.split('?')
  const [, bucket, raw] = /^\/?([^/]+)\/(.+)$/s.exec(path) ?? []
  // a plus is a space as in a path, since the Go SDK encodes spaces that way
  const key = raw === undefined ? undefined : percentDecode(raw.replaceAll('+', ' '))
  const [, versionId] = /^versionId=(.+)$/.exec(query ?? '') ?? []
  if (bucket === undefined || key === undefined || (query && versionId === undefined))
    throw invalidArgument('x-oss-copy-source', text, 'The copy source is invalid.')
  return { bucket, key, versionId }
}

async function getSourceObject(
  context: OperationContext,
  copySource: ObjectAddress,
): Promise<ObjectRecord> {
  await context.authorizeRead(copySource)
  return requireVersion(context, copySource)
}

/** Returns the fields that a copy has in common with its source under any request. */
function contentOf({
  body: _body,
  versionId: _versionId,
  restore: _restore,
  retention: _retention,
  isOnHold: _isOnHold,
  ...content
}: ObjectRecord): Omit<ObjectRecord, 'body'> {
  return content
}

/** Returns the header with the id of the copied version, if it has one or the client named it. */
function sourceVersionHeader(
  { versionId }: ObjectAddress,
  source: ObjectRecord,
): Record<string, string> {
  const id = source.versionId ?? versionId
  return id === undefined ? {} : { 'x-oss-copy-source-version-id': id }
}

/** Resolves with the metadata of the copy, taken from the source or the request. */
async function copiedMetadata(
  context: OperationContext,
  source: ObjectRecord,
): Promise<ObjectMetadata> {
  const { headers } = context
  // without metadataOf()'s check: ali-oss sends each condition of a copy twice, with and without prefix
  const requested = {
    ...uploadMetadataOf(headers, await defaultStorageClass(context)),
    acl: objectAclOf(headers),
  }
  const replaceMetadata = isReplaceDirective(context, 'x-oss-metadata-directive')
  const replaceTags = isReplaceDirective(context, 'x-oss-tagging-directive')
  return {
    ...requested,
    headers: replaceMetadata ? requested.headers : source.headers,
    meta: replaceMetadata ? requested.meta : source.meta,
    tags: replaceTags ? requested.tags : source.tags,
  }
}

function isReplaceDirective({ headers }: OperationContext, name: string): boolean {
  const value = (headers.get(name) ?? 'COPY').toUpperCase()
  if (value !== 'COPY' && value !== 'REPLACE')
    throw invalidArgument(name, value, `The ${name} is invalid.`)
  return value === 'REPLACE'
}
