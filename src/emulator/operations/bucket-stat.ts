/** GetBucketStat: numbers and sizes of the objects, with all versions, and unfinished uploads of a bucket. */
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
  let markers = 0
  for (const key of await store.objects.listKeys(bucket)) {
    for (const version of await store.objects.versions(bucket, key)) {
      lastModified = Math.max(lastModified, Date.parse(version.modified))
      if (version.type === 'DeleteMarker') {
        markers++
        continue
      }
      const ofClass = counts.get(ELEMENTS[version.storageClass] ?? 'Standard')
      if (ofClass !== undefined) {
        ofClass.size += version.size
        ofClass.count++
      }
      size += version.size
      count++
    }
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
    DeleteMarkerCount: markers,
  })
}
