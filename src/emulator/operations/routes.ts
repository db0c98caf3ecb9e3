/**
 * Maps requests to operations: the first row of the table whose method, level and query match. Operations
 * that OSS supports and the emulator does not are listed too, so that they are answered NotImplemented
 * rather than something that looks like success.
 */
import type { Address } from '../http/bucket-address.js'
import type { HeaderMap } from '../http/headers.js'
import type { Reply } from '../reply.js'
import { getBucketAcl, getObjectAcl, putBucketAcl, putObjectAcl } from './acl.js'
import { appendObject } from './append.js'
import {
  BUCKET_CONFIGURATIONS,
  configurationOperation,
  deleteInventory,
  getInventory,
  getPolicyStatus,
  listInventories,
  putInventory,
} from './bucket-configuration.js'
import { getBucketInfo } from './bucket-info.js'
import { getBucketStat } from './bucket-stat.js'
import { deleteBucket, getBucketLocation, listBuckets, putBucket } from './bucket.js'
import type { OperationContext } from './operation-context.js'
import { completeMultipartUpload } from './complete.js'
import { optionObject } from './cors.js'
import { copyObject, uploadPartCopy } from './copy.js'
import { deleteMultipleObjects } from './delete-multiple.js'
import { listLiveChannels } from './live-channel.js'
import { abortMultipartUpload, initiateMultipartUpload, uploadPart } from './multipart.js'
import { listMultipartUploads, listParts } from './multipart-list.js'
import type { OperationName } from './operation-name.js'
import { deleteObject } from './object-delete.js'
import { listObjects, listObjectsV2 } from './object-list.js'
import { getObject, getObjectMeta, headObject } from './object-read.js'
import { putObject } from './object-write.js'
import type { Access, Level, Operation } from './operation.js'
import { describeRegions } from './regions.js'
import {
  deleteReplication,
  getReplication,
  getReplicationLocation,
  getReplicationProgress,
  putReplication,
  putReplicationTimeControl,
} from './replication.js'
import { cleanRestoredObject, restoreObject } from './restore.js'
import { getSymlink, putSymlink } from './symlink.js'
import { deleteStyle, getStyle, listStyles, putStyle } from './styles.js'
import {
  refuseMetaQueryAction,
  refuseSealing,
  UNKNOWN_OPERATION,
  unsupportedOperation,
} from './unsupported.js'
import {
  deleteBucketTags,
  deleteObjectTagging,
  getBucketTags,
  getObjectTagging,
  putBucketTags,
  putObjectTagging,
} from './tagging.js'
import { listObjectVersions } from './version-list.js'
import { getBucketVersioning, putBucketVersioning } from './versioning.js'
import {
  abortBucketWorm,
  completeBucketWorm,
  extendBucketWorm,
  getBucketWorm,
  initiateBucketWorm,
} from './worm.js'

type OperationRoute = [
  OperationName,
  method: string,
  Level,
  query: string,
  Access,
  run: (context: OperationContext) => Promise<Reply>,
  header?: string,
]

const COPY_SOURCE_HEADER = 'x-oss-copy-source'

const SUB_RESOURCE_ROUTES: readonly OperationRoute[] = [
  ['GetBucketInfo', 'GET', 'bucket', 'bucketInfo', 'owner', getBucketInfo],
  ['GetBucketLocation', 'GET', 'bucket', 'location', 'owner', getBucketLocation],
  ['GetBucketStat', 'GET', 'bucket', 'stat', 'owner', getBucketStat],
  ['GetBucketVersioning', 'GET', 'bucket', 'versioning', 'owner', getBucketVersioning],
  ['PutBucketVersioning', 'PUT', 'bucket', 'versioning', 'owner', putBucketVersioning],
  ['ListObjectVersions', 'GET', 'bucket', 'versions', 'read', listObjectVersions],
  ['GetBucketPolicyStatus', 'GET', 'bucket', 'policyStatus', 'owner', getPolicyStatus],
  ['ListLiveChannel', 'GET', 'bucket', 'live', 'read', listLiveChannels],
  ['DescribeRegions', 'GET', 'service', 'regions', 'owner', describeRegions],
  ['InitiateBucketWorm', 'POST', 'bucket', 'worm', 'owner', initiateBucketWorm],
  ['GetBucketWorm', 'GET', 'bucket', 'worm', 'owner', getBucketWorm],
  ['AbortBucketWorm', 'DELETE', 'bucket', 'worm', 'owner', abortBucketWorm],
  ['ExtendBucketWorm', 'POST', 'bucket', 'wormExtend wormId', 'owner', extendBucketWorm],
  ['CompleteBucketWorm', 'POST', 'bucket', 'wormId', 'owner', completeBucketWorm],
  ['PutBucketInventory', 'PUT', 'bucket', 'inventory inventoryId', 'owner', putInventory],
  ['GetBucketInventory', 'GET', 'bucket', 'inventory inventoryId', 'owner', getInventory],
  ['DeleteBucketInventory', 'DELETE', 'bucket', 'inventory inventoryId', 'owner', deleteInventory],
  ['ListBucketInventory', 'GET', 'bucket', 'inventory', 'owner', listInventories],
  ['PutStyle', 'PUT', 'bucket', 'style styleName', 'owner', putStyle],
  ['GetStyle', 'GET', 'bucket', 'style styleName', 'owner', getStyle],
  ['DeleteStyle', 'DELETE', 'bucket', 'style styleName', 'owner', deleteStyle],
  ['ListStyle', 'GET', 'bucket', 'style', 'owner', listStyles],
  ['PutBucketReplication', 'POST', 'bucket', 'comp=add replication', 'owner', putReplication],
  [
    'DeleteBucketReplication',
    'POST',
    'bucket',
    'comp=delete replication',
    'owner',
    deleteReplication,
  ],
  ['GetBucketReplication', 'GET', 'bucket', 'replication', 'owner', getReplication],
  [
    'GetBucketReplicationLocation',
    'GET',
    'bucket',
    'replicationLocation',
    'owner',
    getReplicationLocation,
  ],
  [
    'GetBucketReplicationProgress',
    'GET',
    'bucket',
    'replicationProgress',
    'owner',
    getReplicationProgress,
  ],
  ['PutBucketRtc', 'PUT', 'bucket', 'rtc', 'owner', putReplicationTimeControl],
  ['GetBucketAcl', 'GET', 'bucket', 'acl', 'owner', getBucketAcl],
  ['PutBucketAcl', 'PUT', 'bucket', 'acl', 'create', putBucketAcl],
  ['GetBucketTags', 'GET', 'bucket', 'tagging', 'owner', getBucketTags],
  ['PutBucketTags', 'PUT', 'bucket', 'tagging', 'owner', putBucketTags],
  ['DeleteBucketTags', 'DELETE', 'bucket', 'tagging', 'owner', deleteBucketTags],
  ['ListMultipartUploads', 'GET', 'bucket', 'uploads', 'read', listMultipartUploads],
  ['DeleteMultipleObjects', 'POST', 'bucket', 'delete', 'write', deleteMultipleObjects],
  ['NotImplemented', 'POST', 'bucket', 'metaQuery action', 'owner', refuseMetaQueryAction],

  ['InitiateMultipartUpload', 'POST', 'object', 'uploads', 'write', initiateMultipartUpload],
  [
    'UploadPartCopy',
    'PUT',
    'object',
    'partNumber uploadId',
    'write',
    uploadPartCopy,
    COPY_SOURCE_HEADER,
  ],
  ['UploadPart', 'PUT', 'object', 'partNumber uploadId', 'write', uploadPart],
  ['ListParts', 'GET', 'object', 'uploadId', 'read', listParts],
  ['CompleteMultipartUpload', 'POST', 'object', 'uploadId', 'write', completeMultipartUpload],
  ['AbortMultipartUpload', 'DELETE', 'object', 'uploadId', 'write', abortMultipartUpload],
  ['AppendObject', 'POST', 'object', 'append', 'write', appendObject],
  ['RestoreObject', 'POST', 'object', 'restore', 'write', restoreObject],
  ['CleanRestoredObject', 'POST', 'object', 'cleanRestoredObject', 'write', cleanRestoredObject],
  ['NotImplemented', 'POST', 'object', 'seal', 'owner', refuseSealing],
  ['PutSymlink', 'PUT', 'object', 'symlink', 'write', putSymlink],
  ['GetSymlink', 'GET', 'object', 'symlink', 'read', getSymlink],
  ['GetObjectMeta', 'HEAD', 'object', 'objectMeta', 'read', getObjectMeta],
  ['GetObjectAcl', 'GET', 'object', 'acl', 'owner', getObjectAcl],
  ['PutObjectAcl', 'PUT', 'object', 'acl', 'owner', putObjectAcl],
  ['GetObjectTagging', 'GET', 'object', 'tagging', 'read', getObjectTagging],
  ['PutObjectTagging', 'PUT', 'object', 'tagging', 'write', putObjectTagging],
  ['DeleteObjectTagging', 'DELETE', 'object', 'tagging', 'write', deleteObjectTagging],
]

/** Routes without a sub-resource. Matched last, after the operations that are not implemented. */
const PLAIN_ROUTES: readonly OperationRoute[] = [
  ['OptionObject', 'OPTIONS', 'bucket', '', 'anyone', optionObject],
  ['OptionObject', 'OPTIONS', 'object', '', 'anyone', optionObject],
  ['ListBuckets', 'GET', 'service', '', 'owner', listBuckets],

  ['PutBucket', 'PUT', 'bucket', '', 'create', putBucket],
  ['DeleteBucket', 'DELETE', 'bucket', '', 'owner', deleteBucket],
  ['ListObjectsV2', 'GET', 'bucket', 'list-type=2', 'read', listObjectsV2],
  ['ListObjects', 'GET', 'bucket', '', 'read', listObjects],

  ['CopyObject', 'PUT', 'object', '', 'write', copyObject, COPY_SOURCE_HEADER],
  ['PutObject', 'PUT', 'object', '', 'write', putObject],
  ['GetObject', 'GET', 'object', '', 'read', getObject],
  ['HeadObject', 'HEAD', 'object', '', 'read', headObject],
  ['DeleteObject', 'DELETE', 'object', '', 'write', deleteObject],
]

const CONFIGURATION_VERBS = { GET: 'Get', PUT: 'Put', DELETE: 'Delete' } as const

const toOperations = (routes: readonly OperationRoute[]): Operation[] =>
  routes.map(([name, method, level, query, access, run, header]) => ({
    name,
    method,
    level,
    query: query === '' ? [] : query.split(' '),
    access,
    run,
    ...(header === undefined ? {} : { header }),
  }))

/** Operations on configuration documents, such as `GET ?lifecycle`. */
const CONFIGURATION_ROUTES = BUCKET_CONFIGURATIONS.flatMap(configuration =>
  configuration.methods.map((method): OperationRoute => {
    const { parameter } = configuration
    const run = configurationOperation(configuration, method)
    return [
      `${CONFIGURATION_VERBS[method]}BucketConfiguration`,
      method,
      'bucket',
      parameter,
      'owner',
      run,
    ]
  }),
)

const SUB_RESOURCE_OPERATIONS = toOperations([...SUB_RESOURCE_ROUTES, ...CONFIGURATION_ROUTES])
const PLAIN_OPERATIONS = toOperations(PLAIN_ROUTES)

/** Returns the operation of a request. For an unknown one, returns an operation that answers an error. */
export function findOperation(
  method: string,
  address: Address,
  query: ReadonlyMap<string, string>,
  headers: HeaderMap,
): Operation {
  const level =
    address.bucket === undefined ? 'service' : address.key === undefined ? 'bucket' : 'object'
  const matches = (operation: Operation) =>
    operation.method === method &&
    operation.level === level &&
    operation.query.every(parameter => matchesQuery(query, parameter)) &&
    (operation.header === undefined || headers.has(operation.header))
  return (
    SUB_RESOURCE_OPERATIONS.find(matches) ??
    unsupportedOperation(method, level, query, headers) ??
    PLAIN_OPERATIONS.find(matches) ??
    UNKNOWN_OPERATION
  )
}

function matchesQuery(query: ReadonlyMap<string, string>, parameter: string): boolean {
  const [name = '', value] = parameter.split('=')
  return value === undefined ? query.has(name) : query.get(name) === value
}
