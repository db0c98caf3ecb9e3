/** PutObject and DeleteObject. */
import { emptyReply, type Reply } from '../reply.js'
import { OssError } from '../oss-error.js'
import type { Digest } from '../store/digest.js'
import type { ObjectRecord, ObjectTraits } from '../store/record.js'
import { isoTime, type Call } from './call.js'
import { callbackOf } from './callback.js'
import { base64OfHex, digestHeaders, receive } from './receive.js'
import { traitsOf } from './traits.js'

export async function putObject(call: Call): Promise<Reply> {
  const { store, bucket, key, headers } = call
  const callback = callbackOf(call)
  const traits = traitsOf(headers, await bucketClass(call))
  if (forbidsOverwrite(call)) refuseExisting(await store.objects.get(bucket, key))
  return receive(call, async ({ bytes, digest }) => {
    const record = await store.objects.put(bucket, key, bytes, old => {
      if (forbidsOverwrite(call)) refuseExisting(old)
      return normalObject(call, traits, digest)
    })
    const reply = emptyReply(200, { ...digestHeaders(digest), ...encryptionHeader(traits) })
    return callback(reply, record)
  })
}

export async function deleteObject({ store, bucket, key }: Call): Promise<Reply> {
  await store.objects.remove(bucket, key)
  return emptyReply(204)
}

/** The record of an object that was written in one piece. */
export function normalObject(
  { key, now }: Call,
  traits: ObjectTraits,
  { size, md5, crc64 }: Digest,
): Omit<ObjectRecord, 'body'> {
  return {
    ...traits,
    key,
    type: 'Normal',
    size,
    etag: md5,
    ...(crc64 === undefined ? {} : { md5: base64OfHex(md5), crc64: String(crc64) }),
    modified: isoTime(now),
  }
}

/** Whether the client wants no object replaced. */
export function forbidsOverwrite({ headers }: Call): boolean {
  return headers.get('x-oss-forbid-overwrite')?.toLowerCase() === 'true'
}

/** 409 if there is an object. */
export function refuseExisting(old: ObjectRecord | undefined, ec?: string): void {
  if (old !== undefined) throw new OssError('FileAlreadyExists', ec === undefined ? {} : { ec })
}

/** The storage class that objects have by default in this bucket. */
export async function bucketClass({ store, bucket }: Call): Promise<string> {
  return (await store.buckets.get(bucket))?.storageClass ?? 'Standard'
}

/** `x-oss-server-side-encryption`, where the object has one. */
export function encryptionHeader({ encryption }: ObjectTraits): Record<string, string> {
  return encryption === undefined ? {} : { 'x-oss-server-side-encryption': encryption }
}
