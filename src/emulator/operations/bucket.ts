/** ListBuckets, PutBucket, DeleteBucket and GetBucketLocation. */
import { invalidArgument, OssError } from '../oss-error.js'
import { emptyReply, xmlReply, type Reply } from '../reply.js'
import { OWNER, type EmulatorSettings } from '../settings.js'
import { isBucketName } from '../store/buckets.js'
import type { Acl, BucketRecord } from '../store/record.js'
import { isoTime } from '../iso-time.js'
import type { OperationContext } from './operation-context.js'
import { parseStorageClass } from './object-metadata.js'
import { readXmlBody } from './xml-body.js'

/** Maximum number of buckets per region and account. */
const MAX_BUCKETS = 100

/** Id of the resource group to which all buckets belong. */
export const RESOURCE_GROUP_ID = 'rg-emulator'

export async function putBucket(context: OperationContext): Promise<Reply> {
  const { store, bucket, headers } = context
  if (!isBucketName(bucket) || bucket.includes('_')) throw invalidBucketName(bucket)
  const xml = await readXmlBody(context, 'CreateBucketConfiguration', true)
  const storageClass = parseStorageClass(
    xml?.text('StorageClass') ?? headers.get('x-oss-storage-class'),
    'Standard',
  )
  const acl = headers.get('x-oss-acl')
  const isNew = (await store.buckets.get(bucket)) === undefined
  if (isNew && (await store.buckets.list()).length >= MAX_BUCKETS)
    throw new OssError('TooManyBuckets')
  const redundancy = xml?.text('DataRedundancyType')
  if (redundancy !== undefined && redundancy !== 'LRS' && redundancy !== 'ZRS')
    throw invalidArgument('DataRedundancyType', redundancy, 'The redundancy type is invalid.')
  const changes = acl === undefined ? {} : { acl: parseBucketAcl(acl) }
  await store.buckets.update(bucket, old => {
    if (old === undefined)
      return {
        ...newBucket(bucket, context.now),
        storageClass,
        ...(redundancy === undefined ? {} : { redundancy }),
        ...changes,
      }
    // the owner may put an existing bucket to set its ACL, but not with a different storage class
    if (xml?.text('StorageClass') !== undefined && old.storageClass !== storageClass)
      throw new OssError('BucketAlreadyExists', { extra: { BucketName: bucket } })
    return { ...old, ...changes }
  })
  return emptyReply(200, { Location: `/${bucket}` })
}

/** Returns a bucket with default properties. */
export function newBucket(name: string, now: number): BucketRecord {
  return { name, created: isoTime(now), acl: 'private', storageClass: 'Standard', tags: [] }
}

/** Returns 400 InvalidBucketName. */
export function invalidBucketName(name: string): OssError {
  return new OssError('InvalidBucketName', { extra: { BucketName: name } })
}

/** Returns 404 NoSuchBucket. */
export function noSuchBucket(name: string): OssError {
  return new OssError('NoSuchBucket', { extra: { BucketName: name } })
}

/** Resolves with the bucket; throws 404 NoSuchBucket. */
export async function requireBucket({ store, bucket }: OperationContext): Promise<BucketRecord> {
  const record = await store.buckets.get(bucket)
  if (record === undefined) throw noSuchBucket(bucket)
  return record
}

/** Changes the bucket; throws 404 NoSuchBucket. */
export function updateBucket(
  { store, bucket }: OperationContext,
  edit: (old: BucketRecord) => BucketRecord,
): Promise<void> {
  return store.buckets.update(bucket, old => {
    if (old === undefined) throw noSuchBucket(bucket)
    return edit(old)
  })
}

export async function deleteBucket({ store, bucket }: OperationContext): Promise<Reply> {
  if (!(await store.buckets.remove(bucket)))
    throw new OssError('BucketNotEmpty', { extra: { BucketName: bucket } })
  return emptyReply(204)
}

/** Returns the region with its prefix `oss-`, which the setting may lack. */
export const locationOf = ({ region }: EmulatorSettings): string =>
  `oss-${region.replace(/^oss-/, '')}`

/** Returns the elements with the endpoints of a bucket. */
export const bucketEndpoints = (settings: EmulatorSettings) => ({
  ExtranetEndpoint: `${locationOf(settings)}.aliyuncs.com`,
  IntranetEndpoint: `${locationOf(settings)}-internal.aliyuncs.com`,
})

export function getBucketLocation({ settings }: OperationContext): Promise<Reply> {
  return Promise.resolve(xmlReply('LocationConstraint', locationOf(settings)))
}

export async function listBuckets(context: OperationContext): Promise<Reply> {
  const { store, query, settings } = context
  const prefix = query.get('prefix') ?? ''
  const marker = query.get('marker') ?? ''
  const max = Number(query.get('max-keys') ?? 100)
  if (!Number.isInteger(max) || max < 1 || max > 1000)
    throw invalidArgument('max-keys', String(max), 'Argument max-keys must be between 1 and 1000.')
  // recorded from the service, which rejects a prefix that no bucket name can have
  if (!/^[a-z0-9_-]*$/.test(prefix))
    throw invalidArgument('prefix', prefix, 'The prefix is invalid.')
  const all = await store.buckets.list()
  const tags = requestedTags(query)
  const found = all.filter(
    ({ name, tags: bucketTags }) =>
      name.startsWith(prefix) &&
      name > marker &&
      tags.every(([key, value]) =>
        bucketTags.some(([k, v]) => k === key && (value === undefined || v === value)),
      ),
  )
  const shown = found.slice(0, max)
  const truncated = found.length > max
  const paged = query.has('prefix') || query.has('marker') || query.has('max-keys')
  return xmlReply('ListAllMyBucketsResult', {
    ...(paged || truncated
      ? { Prefix: prefix, Marker: marker, MaxKeys: max, IsTruncated: truncated }
      : {}),
    NextMarker: truncated ? shown.at(-1)?.name : undefined,
    Owner: OWNER,
    Buckets: {
      Bucket: shown.map(bucket => ({
        CreationDate: bucket.created,
        ...bucketEndpoints(settings),
        Location: locationOf(settings),
        Name: bucket.name,
        Region: settings.region.replace(/^oss-/, ''),
        StorageClass: bucket.storageClass,
        Tagging: query.has('tagging')
          ? { TagSet: { Tag: bucket.tags.map(([Key, Value]) => ({ Key, Value })) } }
          : undefined,
      })),
    },
  })
}

/** Returns the tags that listed buckets must have: `tag-key` with or without `tag-value`, and `tagging="k":"v",...`. */
function requestedTags(query: ReadonlyMap<string, string>): [key: string, value?: string][] {
  const key = query.get('tag-key')
  const value = query.get('tag-value')
  if (key === undefined && value !== undefined)
    throw invalidArgument('tag-value', value, 'The tag-value requires a tag-key.')
  const tagging = query.get('tagging') ?? ''
  const listed = [...tagging.matchAll(/"([^"]*)":"([^"]*)"/g)].map(
    ([, k = '', v = '']): [string, string] => [k, v],
  )
  if (tagging !== '' && listed.length === 0)
    throw invalidArgument('tagging', tagging, 'The tagging is invalid.')
  if (key === undefined) return listed
  return [...listed, value === undefined ? [key] : [key, value]]
}

/** Parses an ACL; throws 400 InvalidArgument. */
export function parseBucketAcl(value: string): Acl {
  const acl = (['private', 'public-read', 'public-read-write'] as const).find(
    known => known === value,
  )
  if (acl === undefined)
    throw invalidArgument('x-oss-acl', value, 'no such bucket access control exists')
  return acl
}
