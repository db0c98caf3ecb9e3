/** ACLs of buckets and objects. Stored, returned, and applied to anonymous requests. */
import { emptyReply, xmlReply, type Reply } from '../reply.js'
import { OWNER } from '../settings.js'
import { parseBucketAcl, newBucket, requireBucket } from './bucket.js'
import type { OperationContext } from './operation-context.js'
import { requireObject, updateObject } from './object-read.js'
import { parseObjectAcl } from './object-metadata.js'
import { versionHeader } from './versioning.js'

const aclReply = (grant: string, headers: Record<string, string> = {}): Reply =>
  xmlReply('AccessControlPolicy', { Owner: OWNER, AccessControlList: { Grant: grant } }, headers)

export async function getBucketAcl(context: OperationContext): Promise<Reply> {
  return aclReply((await requireBucket(context)).acl)
}

/** Creates the bucket if it does not exist, as the service does. */
export async function putBucketAcl(context: OperationContext): Promise<Reply> {
  const acl = parseBucketAcl(context.headers.get('x-oss-acl') ?? '')
  const { store, bucket, now } = context
  await store.buckets.update(bucket, (old = newBucket(bucket, now)) => ({ ...old, acl }))
  return emptyReply(200, { Location: `/${bucket}` })
}

export async function getObjectAcl(context: OperationContext): Promise<Reply> {
  const object = await requireObject(context)
  return aclReply(object.acl, versionHeader(context, object))
}

export async function putObjectAcl(context: OperationContext): Promise<Reply> {
  const acl = parseObjectAcl(context.headers.get('x-oss-object-acl') ?? '')
  const changed = await updateObject(context, old => ({ ...old, acl }))
  return emptyReply(200, versionHeader(context, changed))
}
