/** PutObject. */
import { emptyReply, type Reply } from '../reply.js'
import { OssError } from '../oss-error.js'
import type { Digest } from '../store/digest.js'
import type { ObjectRecord, ObjectMetadata } from '../store/record.js'
import { newVersionId } from '../store/versions.js'
import { isoTime } from '../iso-time.js'
import type { OperationContext } from './operation-context.js'
import { prepareCallback } from './callback.js'
import { encryptionHeaders } from './encryption.js'
import { hexToBase64, digestHeaders, receiveBody } from './receive-body.js'
import { metadataOf } from './object-metadata.js'
import { versionHeader } from './versioning.js'

export async function putObject(context: OperationContext): Promise<Reply> {
  const { store, bucket, key, headers } = context
  const callback = prepareCallback(context)
  const metadata = metadataOf(headers, await defaultStorageClass(context))
  if (forbidsOverwrite(context)) throwIfExists(await store.objects.get(bucket, key))
  return receiveBody(context, async ({ staged, digest }) => {
    const record = await store.objects.put(bucket, key, staged, old => {
      if (forbidsOverwrite(context)) throwIfExists(old)
      return normalObjectRecord(context, metadata, digest)
    })
    const reply = emptyReply(200, {
      ...digestHeaders(digest, context),
      ...encryptionHeaders(metadata),
      ...versionHeader(context, record),
    })
    return callback(reply, record)
  })
}

/** Returns the record of an object written by PutObject. */
export function normalObjectRecord(
  { key, now, versioning, settings }: OperationContext,
  metadata: ObjectMetadata,
  { size, md5, crc64 }: Digest,
): Omit<ObjectRecord, 'body'> {
  return {
    ...metadata,
    key,
    ...newVersionId(versioning),
    type: 'Normal',
    size,
    etag: md5,
    ...(settings.verify === true ? { md5: hexToBase64(md5) } : {}), // else it is random
    ...(crc64 === undefined ? {} : { crc64: String(crc64) }),
    modified: isoTime(now),
  }
}

/** Returns whether the client forbids replacing an object, which OSS ignores in a bucket that has, or had, versioning. */
export function forbidsOverwrite({ headers, versioning }: OperationContext): boolean {
  return versioning === undefined && headers.get('x-oss-forbid-overwrite')?.toLowerCase() === 'true'
}

/** Throws 409 FileAlreadyExists if the object exists. */
export function throwIfExists(old: ObjectRecord | undefined, ec?: string): void {
  if (old !== undefined) throw new OssError('FileAlreadyExists', ec === undefined ? {} : { ec })
}

/** Resolves with the default storage class of objects in this bucket. */
export async function defaultStorageClass({ store, bucket }: OperationContext): Promise<string> {
  return (await store.buckets.get(bucket))?.storageClass ?? 'Standard'
}
