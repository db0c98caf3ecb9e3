/**
 * CompleteMultipartUpload: the list of parts, checked against what is there in the order that OSS
 * reports its errors (the upload, the XML, the order, each part, the sizes), then one object.
 */
import { combineCrc64, EMPTY_CRC64 } from '../../crc64.js'
import { invalidArgument, OssError } from '../oss-error.js'
import { xmlReply, type Reply } from '../reply.js'
import { multipartETag } from '../store/digest.js'
import type { Part } from '../store/parts.js'
import type { ObjectRecord, UploadRecord } from '../store/record.js'
import { isoTime, type Call } from './call.js'
import { callbackOf } from './callback.js'
import { encodedKey } from './encoding.js'
import { noSuchUpload, theUpload } from './multipart.js'
import { crc64Header } from './object-read.js'
import { encryptionHeader, forbidsOverwrite, refuseExisting } from './object-write.js'
import { aclIn } from './traits.js'
import { xmlBody } from './xml-body.js'

/** All parts but the last have at least so many bytes. */
export const MIN_PART = 100 * 1024

/** A part as the client lists it. */
interface Listed {
  readonly number: number
  readonly etag: string
}

export async function completeMultipartUpload(call: Call): Promise<Reply> {
  const { store, bucket, key, settings } = call
  const upload = await theUpload(call, 'complete')
  const callback = callbackOf(call)
  const acl = aclIn(call.headers)
  const listed = await listedParts(call)
  const record = await store.uploads.complete(
    bucket,
    upload,
    (present, old) => {
      if (forbidsOverwrite(call)) refuseExisting(old, '0042-00000214')
      const parts = listed === 'all' ? present : pick(listed, present)
      checkSizes(parts)
      return { parts, facts: { ...multipartObject(upload, parts, isoTime(call.now)), acl } }
    },
    settings.discard,
  )
  if (record === undefined) throw noSuchUpload(upload.id, 'complete')
  const { name, encoding } = encodedKey(call)
  const reply = xmlReply(
    'CompleteMultipartUploadResult',
    {
      ...encoding,
      Location: `http://${call.host}/${name(key)}`,
      Bucket: bucket,
      Key: name(key),
      ETag: `"${record.etag}"`,
    },
    { ETag: `"${record.etag}"`, ...crc64Header(record), ...encryptionHeader(record) },
  )
  return callback(reply, record)
}

async function listedParts(call: Call): Promise<readonly Listed[] | 'all'> {
  const all = call.headers.get('x-oss-complete-all')?.toLowerCase()
  if (all !== undefined && all !== 'yes')
    throw invalidArgument('x-oss-complete-all', all, 'The value of x-oss-complete-all must be yes.')
  const xml = await xmlBody(call, 'CompleteMultipartUpload', all === 'yes')
  if (all === 'yes') {
    if (xml !== undefined)
      throw new OssError('InvalidArgument', {
        // the service's spelling
        message: 'Should not speficy both complete all header and http body.',
        ec: '0042-00000216',
      })
    return 'all'
  }
  const parts = xml?.children('Part') ?? []
  if (parts.length === 0) throw new OssError('MalformedXML')
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

/** The parts that the client lists, or 400 InvalidPart. Pure. */
export function pick(listed: readonly Listed[], present: readonly Part[]): Part[] {
  const byNumber = new Map(present.map(part => [part.number, part]))
  return listed.map(({ number, etag }) => {
    const part = byNumber.get(number)
    if (part === undefined || part.md5 !== etag)
      throw new OssError('InvalidPart', { extra: { PartNumber: String(number), ETag: etag } })
    return part
  })
}

function checkSizes(parts: readonly Part[]): void {
  if (parts.length === 0) throw new OssError('InvalidPart')
  const small = parts.slice(0, -1).find(part => part.size < MIN_PART)
  if (small !== undefined)
    throw new OssError('EntityTooSmall', {
      extra: {
        ProposedSize: String(small.size),
        MinSizeAllowed: String(MIN_PART),
        PartNumber: String(small.number),
        ETag: small.md5,
      },
    })
}

function multipartObject(
  { id: _id, initiated: _initiated, sequential: _sequential, ...traits }: UploadRecord,
  parts: readonly Part[],
  modified: string,
): Omit<ObjectRecord, 'body'> {
  const crc64 = wholeCrc64(parts)
  return {
    ...traits,
    type: 'Multipart',
    size: parts.reduce((sum, part) => sum + part.size, 0),
    etag: multipartETag(parts.map(part => part.md5)),
    ...(crc64 === undefined ? {} : { crc64: String(crc64) }),
    modified,
  }
}

/** The CRC-64 of the parts laid end to end; undefined if one was not hashed. */
function wholeCrc64(parts: readonly Part[]): bigint | undefined {
  return parts.reduce<bigint | undefined>(
    (crc, part) =>
      crc === undefined || part.crc64 === undefined
        ? undefined
        : combineCrc64(crc, part.crc64, part.size),
    EMPTY_CRC64,
  )
}
