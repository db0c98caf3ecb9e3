/** AppendObject. Appends bytes if the client's `position` equals the length of the object. */
import { createHash } from 'node:crypto'
import { combineCrc64 } from '../../crc64.js'
import { invalidArgument, OssError } from '../oss-error.js'
import { emptyReply, type Reply } from '../reply.js'
import type { Digest } from '../store/digest.js'
import type { ObjectRecord } from '../store/record.js'
import { newVersionId } from '../store/versions.js'
import { isoTime } from '../iso-time.js'
import type { OperationContext } from './operation-context.js'
import { encryptionHeaders } from './encryption.js'
import { crc64Header } from './object-read.js'
import { defaultStorageClass } from './object-write.js'
import { MAX_UPLOAD_BODY_BYTES, receiveBody } from './receive-body.js'
import { metadataOf, objectAclOf, refuseConditions } from './object-metadata.js'
import { versionHeader } from './versioning.js'

export async function appendObject(context: OperationContext): Promise<Reply> {
  const { store, bucket, key, headers, settings } = context
  const position = parsePosition(context)
  const storageClass = await defaultStorageClass(context)
  const existing = await store.objects.get(bucket, key)
  checkPosition(existing, position)
  // later appends may change only the ACL; other metadata is ignored
  if (existing === undefined) metadataOf(headers, storageClass)
  else refuseConditions(headers)
  const acl = objectAclOf(headers)
  return receiveBody(context, async ({ staged, digest }) => {
    if (position + digest.size > MAX_UPLOAD_BODY_BYTES)
      throw new OssError('InvalidArgument', { message: 'The object must not exceed 5 GB.' })
    const record = await store.objects.append(bucket, key, staged, newest => {
      const old = newest?.type === 'DeleteMarker' ? undefined : newest
      checkPosition(old, position)
      // appending to an object changes its version
      const fields =
        old === undefined
          ? { ...metadataOf(headers, storageClass), key, ...newVersionId(context.versioning) }
          : { ...old, ...(headers.has('x-oss-object-acl') ? { acl } : {}) }
      return { ...fields, ...appendedDigest(old, digest), ...appendableFields(context) }
    })
    return emptyReply(200, {
      ETag: `"${record.etag}"`,
      'x-oss-next-append-position': String(record.size),
      ...(settings.verify ? crc64Header(record) : {}),
      ...encryptionHeaders(record),
      ...versionHeader(context, record),
    })
  })
}

const appendableFields = ({ now }: OperationContext) => ({
  type: 'Appendable' as const,
  modified: isoTime(now),
})

/** Returns size, CRC-64 and a new ETag of the object after appending. Pure. */
function appendedDigest(
  old: ObjectRecord | undefined,
  { size, md5, crc64 }: Digest,
): Pick<ObjectRecord, 'size' | 'etag' | 'crc64'> {
  if (old === undefined)
    return { size, etag: md5, ...(crc64 === undefined ? {} : { crc64: String(crc64) }) }
  return {
    size: old.size + size,
    etag: createHash('md5').update(old.etag).update(md5).digest('hex').toUpperCase(),
    ...(crc64 === undefined || old.crc64 === undefined
      ? {}
      : { crc64: String(combineCrc64(BigInt(old.crc64), crc64, size)) }),
  }
}

function parsePosition({ query }: OperationContext): number {
  const text = query.get('position') ?? ''
  if (!/^\d{1,15}$/.test(text))
    throw invalidArgument(
      'position',
      text,
      'Position should be nonnegative.',
      text === '' ? '0016-00000501' : undefined,
    )
  return Number(text)
}

function checkPosition(old: ObjectRecord | undefined, position: number): void {
  const size = old?.size ?? 0
  const headers = { 'x-oss-next-append-position': String(size) }
  if (old !== undefined && old.type !== 'Appendable') throw new OssError('ObjectNotAppendable')
  if (position !== size) throw new OssError('PositionNotEqualToLength', { headers })
}
