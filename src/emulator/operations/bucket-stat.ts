/** GetBucketStat: numbers and sizes of the objects and unfinished uploads of a bucket. */
import { xmlReply, type Reply } from '../reply.js'
import { requireBucket } from './bucket.js'
import type { OperationContext } from './operation-context.js'

/** Names of the elements of a storage class; the size of Archive objects is counted twice, real and billed. */
const ELEMENTS: Readonly<Record<string, string>> = {
  Standard: 'Standard',
  IA: 'InfrequentAccess',
  Archive: 'Archive',
  ColdArchive: 'ColdArchive',
  DeepColdArchive: 'DeepColdArchive',
}

export async function getBucketStat(context: OperationContext): Promise<Reply> {
  await requireBucket(context)
  const { store, bucket } = context
  const counts = new Map(Object.values(ELEMENTS).map(name => [name, { size: 0, count: 0 }]))
  let size = 0
  let count = 0
  let lastModified = 0
  for (const key of await store.objects.listKeys(bucket)) {
    const object = await store.objects.get(bucket, key)
    if (object === undefined) continue // deleted meanwhile
    const ofClass = counts.get(ELEMENTS[object.storageClass] ?? 'Standard')
    if (ofClass !== undefined) {
      ofClass.size += object.size
      ofClass.count++
    }
    size += object.size
    count++
    lastModified = Math.max(lastModified, Date.parse(object.modified))
  }
  const uploads = await store.uploads.list(bucket)
  const elements = [...counts].flatMap(([name, { size: storage, count: objects }]) => [
    [`${name}Storage`, storage],
    ...(name === 'Standard' ? [] : [[`${name}RealStorage`, storage]]),
    [`${name}ObjectCount`, objects],
  ])
  return xmlReply('BucketStat', {
    Storage: size,
    ObjectCount: count,
    MultipartUploadCount: uploads.length,
    LiveChannelCount: 0,
    LastModifiedTime: Math.floor(lastModified / 1000),
    ...(Object.fromEntries(elements) as Record<string, number>), // pairs of a name and a number, see above
    MultipartPartCount: 0,
    DeleteMarkerCount: 0,
  })
}
