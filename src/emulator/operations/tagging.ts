/** Tags of buckets and objects: stored and returned. */
import { OssError } from '../oss-error.js'
import { emptyReply, xmlReply, type Reply } from '../reply.js'
import type { Tag } from '../store/record.js'
import { theBucket } from './bucket.js'
import type { Call } from './call.js'
import { existing, gone } from './object-read.js'
import { checkTags } from './traits.js'
import { xmlBody } from './xml-body.js'

const MAX_BUCKET_TAGS = 20
const MAX_OBJECT_TAGS = 10

const tagging = (tags: readonly Tag[]): Reply =>
  xmlReply('Tagging', { TagSet: { Tag: tags.map(([key, value]) => ({ Key: key, Value: value })) } })

async function tagsOfBody(call: Call, most: number): Promise<Tag[]> {
  const set = (await xmlBody(call, 'Tagging'))?.child('TagSet')
  if (set === undefined) throw new OssError('MalformedXML')
  const tags = set
    .children('Tag')
    .map((tag): Tag => [tag.text('Key') ?? '', tag.text('Value') ?? ''])
  return checkTags(tags, most)
}

export async function getBucketTags(call: Call): Promise<Reply> {
  return tagging((await theBucket(call)).tags)
}

export async function putBucketTags(call: Call): Promise<Reply> {
  const tags = await tagsOfBody(call, MAX_BUCKET_TAGS)
  await call.store.buckets.put({ ...(await theBucket(call)), tags })
  return emptyReply(200)
}

export async function deleteBucketTags(call: Call): Promise<Reply> {
  await call.store.buckets.put({ ...(await theBucket(call)), tags: [] })
  return emptyReply(204)
}

export async function getObjectTagging(call: Call): Promise<Reply> {
  return tagging((await existing(call)).tags)
}

export async function putObjectTagging(call: Call): Promise<Reply> {
  await setTags(call, await tagsOfBody(call, MAX_OBJECT_TAGS))
  return emptyReply(200)
}

export async function deleteObjectTagging(call: Call): Promise<Reply> {
  await setTags(call, [])
  return emptyReply(204)
}

async function setTags({ store, bucket, key }: Call, tags: readonly Tag[]): Promise<void> {
  const changed = await store.objects.change(bucket, key, old => ({ ...old, tags }))
  if (changed === undefined) throw gone(key)
}
