/** Tags of buckets and objects. Stored and returned. */
import { OssError } from '../oss-error.js'
import { emptyReply, xmlReply, type Reply } from '../reply.js'
import type { Tag } from '../store/record.js'
import { requireBucket, updateBucket } from './bucket.js'
import type { OperationContext } from './operation-context.js'
import { requireObject, updateObject } from './object-read.js'
import { checkBucketTags, checkObjectTags } from './tag-rules.js'
import { versionHeader } from './versioning.js'
import { readXmlBody } from './xml-body.js'

const taggingReply = (tags: readonly Tag[], headers: Record<string, string> = {}): Reply =>
  xmlReply(
    'Tagging',
    { TagSet: { Tag: tags.map(([key, value]) => ({ Key: key, Value: value })) } },
    headers,
  )

async function parseTagsBody(context: OperationContext): Promise<Tag[]> {
  const set = (await readXmlBody(context, 'Tagging'))?.child('TagSet')
  if (set === undefined) throw new OssError('MalformedXML')
  return set.children('Tag').map((tag): Tag => [tag.text('Key') ?? '', tag.text('Value') ?? ''])
}

export async function getBucketTags(context: OperationContext): Promise<Reply> {
  return taggingReply((await requireBucket(context)).tags)
}

export async function putBucketTags(context: OperationContext): Promise<Reply> {
  const tags = checkBucketTags(await parseTagsBody(context))
  await updateBucket(context, old => ({ ...old, tags }))
  return emptyReply(200)
}

/** Deletes the tags named by `?tagging=KEY,KEY`, or all. */
export async function deleteBucketTags(context: OperationContext): Promise<Reply> {
  const names = context.query.get('tagging') ?? ''
  const isNamed = ([key]: Tag) => names === '' || names.split(',').includes(key)
  await updateBucket(context, old => ({ ...old, tags: old.tags.filter(tag => !isNamed(tag)) }))
  return emptyReply(204)
}

export async function getObjectTagging(context: OperationContext): Promise<Reply> {
  const object = await requireObject(context)
  return taggingReply(object.tags, versionHeader(context, object))
}

export async function putObjectTagging(context: OperationContext): Promise<Reply> {
  const tags = checkObjectTags(await parseTagsBody(context))
  return emptyReply(200, await setTags(context, tags))
}

export async function deleteObjectTagging(context: OperationContext): Promise<Reply> {
  return emptyReply(204, await setTags(context, []))
}

/** Resolves with the headers of the reply. */
async function setTags(
  context: OperationContext,
  tags: readonly Tag[],
): Promise<Record<string, string>> {
  return versionHeader(context, await updateObject(context, old => ({ ...old, tags })))
}
