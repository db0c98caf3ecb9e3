/** Tags of buckets and objects. Stored and returned. */
import { OssError } from '../oss-error.js'
import { emptyReply, xmlReply, type Reply } from '../reply.js'
import type { Tag } from '../store/record.js'
import { requireBucket } from './bucket.js'
import type { OperationContext } from './operation-context.js'
import { requireObject, noSuchKey } from './object-read.js'
import { checkTags } from './object-metadata.js'
import { readXmlBody } from './xml-body.js'

const MAX_BUCKET_TAGS = 20
const MAX_OBJECT_TAGS = 10

const taggingReply = (tags: readonly Tag[]): Reply =>
  xmlReply('Tagging', { TagSet: { Tag: tags.map(([key, value]) => ({ Key: key, Value: value })) } })

async function parseTagsBody(context: OperationContext, maxTags: number): Promise<Tag[]> {
  const set = (await readXmlBody(context, 'Tagging'))?.child('TagSet')
  if (set === undefined) throw new OssError('MalformedXML')
  const tags = set
    .children('Tag')
    .map((tag): Tag => [tag.text('Key') ?? '', tag.text('Value') ?? ''])
  return checkTags(tags, maxTags)
}

export async function getBucketTags(context: OperationContext): Promise<Reply> {
  return taggingReply((await requireBucket(context)).tags)
}

export async function putBucketTags(context: OperationContext): Promise<Reply> {
  const tags = await parseTagsBody(context, MAX_BUCKET_TAGS)
  await context.store.buckets.put({ ...(await requireBucket(context)), tags })
  return emptyReply(200)
}

/** Deletes the tags named by `?tagging=KEY,KEY`, or all. */
export async function deleteBucketTags(context: OperationContext): Promise<Reply> {
  const names = context.query.get('tagging') ?? ''
  const bucket = await requireBucket(context)
  const isNamed = ([key]: Tag) => names === '' || names.split(',').includes(key)
  await context.store.buckets.put({ ...bucket, tags: bucket.tags.filter(tag => !isNamed(tag)) })
  return emptyReply(204)
}

export async function getObjectTagging(context: OperationContext): Promise<Reply> {
  return taggingReply((await requireObject(context)).tags)
}

export async function putObjectTagging(context: OperationContext): Promise<Reply> {
  await setTags(context, await parseTagsBody(context, MAX_OBJECT_TAGS))
  return emptyReply(200)
}

export async function deleteObjectTagging(context: OperationContext): Promise<Reply> {
  await setTags(context, [])
  return emptyReply(204)
}

async function setTags(
  { store, bucket, key }: OperationContext,
  tags: readonly Tag[],
): Promise<void> {
  const changed = await store.objects.update(bucket, key, old => ({ ...old, tags }))
  if (changed === undefined) throw noSuchKey(key)
}
