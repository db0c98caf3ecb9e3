/** ACLs of buckets and objects: stored, returned, and applied to anonymous requests. */
import { emptyReply, xmlReply, type Reply } from '../reply.js'
import { OWNER } from '../settings.js'
import { aclOf, newBucket, theBucket } from './bucket.js'
import type { Call } from './call.js'
import { existing, gone } from './object-read.js'
import { objectAclOf } from './traits.js'

const policy = (grant: string): Reply =>
  xmlReply('AccessControlPolicy', { Owner: OWNER, AccessControlList: { Grant: grant } })

export async function getBucketAcl(call: Call): Promise<Reply> {
  return policy((await theBucket(call)).acl)
}

/** Makes the bucket if it is not there, as the service does. */
export async function putBucketAcl(call: Call): Promise<Reply> {
  const acl = aclOf(call.headers.get('x-oss-acl') ?? '')
  const { store, bucket, now } = call
  await store.buckets.put({ ...((await store.buckets.get(bucket)) ?? newBucket(bucket, now)), acl })
  return emptyReply(200)
}

export async function getObjectAcl(call: Call): Promise<Reply> {
  return policy((await existing(call)).acl)
}

export async function putObjectAcl(call: Call): Promise<Reply> {
  const { store, bucket, key, headers } = call
  const acl = objectAclOf(headers.get('x-oss-object-acl') ?? '')
  const changed = await store.objects.change(bucket, key, old => ({ ...old, acl }))
  if (changed === undefined) throw gone(key)
  return emptyReply(200)
}
