/**
 * CompleteMultipartUpload. Checks the list of parts against the stored ones, in the order in which OSS
 * reports errors (upload, XML, order, each part, sizes), then creates the object.
 */
import { createHash } from 'node:crypto'
import { combineCrc64, EMPTY_CRC64 } from '../../crc64.js'
import { invalidArgument, OssError } from '../oss-error.js'
import { xmlReply, type Reply } from '../reply.js'
import { multipartETag } from '../store/digest.js'
import type { StoredPart } from '../store/parts.js'
import type { ObjectRecord, MultipartUploadRecord } from '../store/record.js'
import { newVersionId, versionIdOf } from '../store/versions.js'
import { isoTime } from '../iso-time.js'
import type { OperationContext } from './operation-context.js'
import { encryptionHeaders } from './encryption.js'
import { prepareCallback } from './callback.js'
import { readNameEncoding } from './name-encoding.js'
import { noSuchUpload, requireUpload } from './multipart.js'
import { crc64Header } from './object-read.js'
import { forbidsOverwrite, throwIfExists } from './object-write.js'
import { objectAclOf } from './object-metadata.js'
import { versionHeader } from './versioning.js'
import { readXmlBody } from './xml-body.js'

/** Minimum size, in bytes, of all parts but the last. */
export const MIN_PART_BYTES = 100 * 1024

/** A part as listed by the client. */
interface RequestedPart {
  readonly number: number
  readonly etag: string
}

export async function completeMultipartUpload(context: OperationContext): Promise<Reply> {
  const { store, bucket, key, settings } = context
  const upload = await requireUpload(context, 'complete')
  const callback = prepareCallback(context)
  const acl = objectAclOf(context.headers)
  const listed = await parsePartList(context)
  const record = await store.uploads.complete(
    bucket,
    upload,
    (storedParts, old) => {
      if (forbidsOverwrite(context)) throwIfExists(old, '0042-00000214')
      const parts = listed === 'all' ? storedParts : selectParts(listed, storedParts)
      checkPartSizes(parts)
      return {
        parts,
        fields: {
          ...multipartObjectRecord(upload, parts, isoTime(context.now)),
          ...newVersionId(context.versioning),
          acl,
        },
      }
    },
    settings.discard,
  )
  if (record === undefined) throw noSuchUpload(upload.id, 'complete')
  if (upload.sequential && settings.verify === true) await addMd5(context, record)
  const { encodeName, encoding } = readNameEncoding(context)
  const reply = xmlReply(
    'CompleteMultipartUploadResult',
    {
      ...encoding,
      Location: `http://${context.host}/${encodeName(key)}`,
      Bucket: bucket,
      Key: encodeName(key),
      ETag: `"${record.etag}"`,
    },
    {
      ETag: `"${record.etag}"`,
      ...crc64Header(record),
      ...encryptionHeaders(record),
      ...versionHeader(context, record),
    },
  )
  return callback(reply, record)
}

/** Adds the MD5 of a sequential upload, which the service knows because it receives the bytes in order. */
async function addMd5({ store, bucket }: OperationContext, record: ObjectRecord): Promise<void> {
  const { key, size, etag } = record
  const bytes = await store.objects.read(bucket, record, { offset: 0, length: size })
  if (bytes === undefined) return // replaced meanwhile
  const hash = createHash('md5')
  for await (const chunk of bytes as AsyncIterable<Buffer>) hash.update(chunk) // of buffers, see stored-body.ts
  const md5 = hash.digest('base64')
  await store.objects.update(bucket, key, versionIdOf(record), old =>
    old.etag === etag ? { ...old, md5 } : old,
  )
}

async function parsePartList(context: OperationContext): Promise<readonly RequestedPart[] | 'all'> {
  const all = context.headers.get('x-oss-complete-all')?.toLowerCase()
  if (all !== undefined && all !== 'yes')
    throw invalidArgument('x-oss-complete-all', all, 'The value of x-oss-complete-all must be yes.')
  const xml = await readXmlBody(context, 'CompleteMultipartUpload', all === 'yes')
  if (all === 'yes') {
    if (xml !== undefined)
      throw new OssError('InvalidArgument', {
        // sic: the service's spelling
        message: 'Should not speficy both complete all header and http body.',
        ec: '0042-00000216',
      })
    return 'all'
  }
  const parts = xml?.children('Part') ?? []
  const listed = parts.map(part => ({
    number: Number(part.text('PartNumber')),
    etag: (part.text('ETag') ?? '').trim().replace(/^"|"$/g, '').toUpperCase(),
  }))
  if (listed.some(({ number }) => !Number.isInteger(number) || number < 1 || number > 10_000))
    throw new OssError('MalformedXML')
  if (listed.some(({ number }, i) => i > 0 && number <= (listed[i - 1]?.number ?? 0)))
    throw new OssError('InvalidPartOrder')
  return listed
}

/** Returns the stored parts that the client lists; throws 400 InvalidPart. Pure. */
export function selectParts(
  listed: readonly RequestedPart[],
  storedParts: readonly StoredPart[],
): StoredPart[] {
  const byNumber = new Map(storedParts.map(part => [part.number, part]))
  return listed.map(({ number, etag }) => {
    const part = byNumber.get(number)
    if (part === undefined || part.md5 !== etag)
      throw new OssError('InvalidPart', { extra: { PartNumber: String(number), ETag: etag } })
    return part
  })
}

function checkPartSizes(parts: readonly StoredPart[]): void {
  const tooSmall = parts.slice(0, -1).find(part => part.size < MIN_PART_BYTES)
  if (tooSmall !== undefined)
    throw new OssError('EntityTooSmall', {
      extra: {
        ProposedSize: String(tooSmall.size),
        MinSizeAllowed: String(MIN_PART_BYTES),
        PartNumber: String(tooSmall.number),
        ETag: tooSmall.md5,
      },
    })
}

function multipartObjectRecord(
  { id: _id, initiated: _initiated, sequential: _sequential, ...metadata }: MultipartUploadRecord,
  parts: readonly StoredPart[],
  modified: string,
): Omit<ObjectRecord, 'body'> {
  const crc64 = combinedCrc64(parts)
  return {
    ...metadata,
    type: 'Multipart',
    size: parts.reduce((sum, part) => sum + part.size, 0),
    etag: multipartETag(parts.map(part => part.md5)),
    ...(crc64 === undefined ? {} : { crc64: String(crc64) }),
    modified,
  }
}

/** Returns the CRC-64 of the concatenated parts; undefined if one was not hashed. */
function combinedCrc64(parts: readonly StoredPart[]): bigint | undefined {
  return parts.reduce<bigint | undefined>(
    (crc, part) =>
      crc === undefined || part.crc64 === undefined
        ? undefined
        : combineCrc64(crc, part.crc64, part.size),
    EMPTY_CRC64,
  )
}
