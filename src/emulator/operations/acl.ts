/** ACLs of buckets and objects. Stored, returned, and applied to anonymous requests. */
import { emptyReply, xmlReply, type Reply } from '../reply.js'
import { OWNER } from '../settings.js'
import { parseBucketAcl, newBucket, requireBucket } from './bucket.js'
import type { OperationContext } from './operation-context.js'
import { requireObject, noSuchKey } from './object-read.js'
import { parseObjectAcl } from './object-metadata.js'

const aclReply = (grant: string): Reply =>
  xmlReply('AccessControlPolicy', { Owner: OWNER, AccessControlList: { Grant: grant } })

export async function getBucketAcl(context: OperationContext): Promise<Reply> {
  return aclReply((await requireBucket(context)).acl)
}

/** Creates the bucket if it does not exist, as the service does. */
export async function putBucketAcl(context: OperationContext): Promise<Reply> {
  const acl = parseBucketAcl(context.headers.get('x-oss-acl') ?? '')
  const { store, bucket, now } = context
  await store.buckets.put({ ...((await store.buckets.get(bucket)) ?? newBucket(bucket, now)), acl })
  return emptyReply(200, { Location: `/${bucket}` })
}

export async function getObjectAcl(context: OperationContext): Promise<Reply> {
  return aclReply((await requireObject(context)).acl)
}

export async function putObjectAcl(context: OperationContext): Promise<Reply> {
  const { store, bucket, key, headers } = context
  const acl = parseObjectAcl(headers.get('x-oss-object-acl') ?? '')
  const changed = await store.objects.update(bucket, key, old => ({ ...old, acl }))
  if (changed === undefined) throw noSuchKey(key)
  return emptyReply(200)
}
