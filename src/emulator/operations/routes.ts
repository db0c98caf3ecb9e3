/**
 * Maps requests to operations: the first row of the table whose method, level and query match. Operations
 * that OSS supports and the emulator does not are listed too, so that they are answered NotImplemented
 * rather than something that looks like success.
 */
import type { Address } from '../http/bucket-address.js'
import type { HeaderMap } from '../http/headers.js'
import type { Reply } from '../reply.js'
import {
  deleteAccountAccessBlock,
  getAccountAccessBlock,
  putAccountAccessBlock,
} from './account-access-block.js'
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
import {
  getObjectLegalHold,
  getObjectRetention,
  putObjectLegalHold,
  putObjectRetention,
} from './object-retention.js'
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
  ACCESS_POINT_PARAMETER,
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
  // of requests with any sub-resource
  ['OptionObject', 'OPTIONS', 'bucket', '', 'anyone', optionObject],
  ['OptionObject', 'OPTIONS', 'object', '', 'anyone', optionObject],
  ['ListBuckets', 'GET', 'service', 'tagging', 'owner', listBuckets],
  ['GetBucketInfo', 'GET', 'bucket', 'bucketInfo', 'owner', getBucketInfo],
  ['GetBucketLocation', 'GET', 'bucket', 'location', 'owner', getBucketLocation],
  ['GetBucketStat', 'GET', 'bucket', 'stat', 'owner', getBucketStat],
  ['GetBucketVersioning', 'GET', 'bucket', 'versioning', 'owner', getBucketVersioning],
  ['PutBucketVersioning', 'PUT', 'bucket', 'versioning', 'owner', putBucketVersioning],
  ['ListObjectVersions', 'GET', 'bucket', 'versions', 'read', listObjectVersions],
  ['GetBucketPolicyStatus', 'GET', 'bucket', 'policyStatus', 'owner', getPolicyStatus],
  ['ListLiveChannel', 'GET', 'bucket', 'live', 'read', listLiveChannels],
  ['DescribeRegions', 'GET', 'service', 'regions', 'owner', describeRegions],
  ['GetPublicAccessBlock', 'GET', 'service', 'publicAccessBlock', 'owner', getAccountAccessBlock],
  ['PutPublicAccessBlock', 'PUT', 'service', 'publicAccessBlock', 'owner', putAccountAccessBlock],
  [
    'DeletePublicAccessBlock',
    'DELETE',
    'service',
    'publicAccessBlock',
    'owner',
    deleteAccountAccessBlock,
  ],
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
  ['GetObjectRetention', 'GET', 'object', 'retention', 'owner', getObjectRetention],
  ['PutObjectRetention', 'PUT', 'object', 'retention', 'owner', putObjectRetention],
  ['GetObjectLegalHold', 'GET', 'object', 'legalHold', 'owner', getObjectLegalHold],
  ['PutObjectLegalHold', 'PUT', 'object', 'legalHold', 'owner', putObjectLegalHold],
  ['DeleteObjectTagging', 'DELETE', 'object', 'tagging', 'write', deleteObjectTagging],
]

/** Routes without a sub-resource. Matched last, after the operations that are not implemented. */
const PLAIN_ROUTES: readonly OperationRoute[] = [
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
const CONFIGURATION_OPERATIONS = BUCKET_CONFIGURATIONS.flatMap(configuration =>
  configuration.methods.map((method): Operation => ({
    name: `${CONFIGURATION_VERBS[method]}BucketConfiguration`,
    method,
    level: 'bucket',
    query: configuration.parameter.split(' '),
    access: 'owner',
    run: configurationOperation(configuration, method),
    putsBucket: method === 'PUT' && configuration.putsBucket,
  })),
)

const SUB_RESOURCE_OPERATIONS = [...toOperations(SUB_RESOURCE_ROUTES), ...CONFIGURATION_OPERATIONS]
const PLAIN_OPERATIONS = toOperations(PLAIN_ROUTES)

/** Names of the sub-resources that the emulator supports, e.g. `acl`. */
const SUB_RESOURCES = new Set(
  SUB_RESOURCE_OPERATIONS.flatMap(({ query }) => query.map(parameter => parameter.split('=')[0])),
)

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
  const operation = query.has(ACCESS_POINT_PARAMETER)
    ? undefined
    : SUB_RESOURCE_OPERATIONS.find(matches)
  const found = operation ?? unsupportedOperation(method, level, query, headers)
  if (found !== undefined) return found
  // `DELETE ?acl` must not delete the bucket
  if ([...query.keys()].some(name => SUB_RESOURCES.has(name))) return UNKNOWN_OPERATION
  return PLAIN_OPERATIONS.find(matches) ?? UNKNOWN_OPERATION
}

function matchesQuery(query: ReadonlyMap<string, string>, parameter: string): boolean {
  const [name = '', value] = parameter.split('=')
  return value === undefined ? query.has(name) : query.get(name) === value
}
