/** ListBuckets and what there is to say about a bucket. */
import { invalidArgument, OssError } from '../oss-error.js'
import { emptyReply, xmlReply, type Reply } from '../reply.js'
import { OWNER, type Settings } from '../settings.js'
import { isBucketName } from '../store/buckets.js'
import type { Acl, BucketRecord } from '../store/record.js'
import { isoTime, type Call } from './call.js'
import { storageClassOf } from './traits.js'
import { xmlBody } from './xml-body.js'

/** Per region and account. */
const MAX_BUCKETS = 100

export async function putBucket(call: Call): Promise<Reply> {
  const { store, bucket, headers } = call
  if (!isBucketName(bucket) || bucket.includes('_')) throw invalidBucketName(bucket)
  const xml = await xmlBody(call, 'CreateBucketConfiguration', true)
  const storageClass = storageClassOf(
    xml?.text('StorageClass') ?? headers.get('x-oss-storage-class'),
    'Standard',
  )
  const acl = headers.get('x-oss-acl')
  const old = await store.buckets.get(bucket)
  if (old === undefined && (await store.buckets.list()).length >= MAX_BUCKETS)
    throw new OssError('TooManyBuckets')
  // the owner may make a bucket again, which sets its ACL, but not with another storage class
  if (old !== undefined && xml?.text('StorageClass') !== undefined)
    if (old.storageClass !== storageClass)
      throw new OssError('BucketAlreadyExists', { extra: { BucketName: bucket } })
  await store.buckets.put({
    ...(old ?? newBucket(bucket, call.now)),
    storageClass: old?.storageClass ?? storageClass,
    ...(acl === undefined ? {} : { acl: aclOf(acl) }),
  })
  return emptyReply(200, { Location: `/${bucket}` })
}

/** A bucket as it is when nothing was said about it. */
export function newBucket(name: string, now: number): BucketRecord {
  return { name, created: isoTime(now), acl: 'private', storageClass: 'Standard', tags: [] }
}

/** 400 InvalidBucketName. */
export function invalidBucketName(name: string): OssError {
  return new OssError('InvalidBucketName', { extra: { BucketName: name } })
}

/** 404 NoSuchBucket. */
export function noSuchBucket(name: string): OssError {
  return new OssError('NoSuchBucket', { extra: { BucketName: name } })
}

/** The bucket, or 404. */
export async function theBucket({ store, bucket }: Call): Promise<BucketRecord> {
  const record = await store.buckets.get(bucket)
  if (record === undefined) throw noSuchBucket(bucket)
  return record
}

export async function deleteBucket({ store, bucket }: Call): Promise<Reply> {
  if (!(await store.buckets.remove(bucket)))
    throw new OssError('BucketNotEmpty', { extra: { BucketName: bucket } })
  return emptyReply(204)
}

export async function getBucketInfo(call: Call): Promise<Reply> {
  const bucket = await theBucket(call)
  return xmlReply('BucketInfo', {
    Bucket: {
      Comment: '',
      CreationDate: bucket.created,
      ...endpoints(call.settings),
      Location: call.settings.region,
      Name: bucket.name,
      StorageClass: bucket.storageClass,
      Owner: OWNER,
      AccessControlList: { Grant: bucket.acl },
    },
  })
}

const endpoints = ({ region }: Settings) => ({
  ExtranetEndpoint: `${region}.aliyuncs.com`,
  IntranetEndpoint: `${region}-internal.aliyuncs.com`,
})

export function getBucketLocation({ settings }: Call): Promise<Reply> {
  return Promise.resolve(xmlReply('LocationConstraint', settings.region))
}

export async function listBuckets(call: Call): Promise<Reply> {
  const { store, query, settings } = call
  const prefix = query.get('prefix') ?? ''
  const marker = query.get('marker') ?? ''
  const max = Number(query.get('max-keys') ?? 100)
  if (!Number.isInteger(max) || max < 1 || max > 1000)
    throw invalidArgument('max-keys', String(max), 'Argument max-keys must be between 1 and 1000.')
  // recorded: the service refuses a prefix that no bucket can have
  if (!/^[a-z0-9_-]*$/.test(prefix))
    throw invalidArgument('prefix', prefix, 'The prefix is invalid.')
  const all = await store.buckets.list()
  const found = all.filter(({ name }) => name.startsWith(prefix) && name > marker)
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
        ...endpoints(settings),
        Location: settings.region,
        Name: bucket.name,
        Region: settings.region.replace(/^oss-/, ''),
        StorageClass: bucket.storageClass,
      })),
    },
  })
}

/** An ACL, or 400. */
export function aclOf(value: string): Acl {
  const acl = (['private', 'public-read', 'public-read-write'] as const).find(
    known => known === value,
  )
  if (acl === undefined)
    throw invalidArgument('x-oss-acl', value, 'no such bucket access control exists')
  return acl
}
