/** Operations that OSS supports and the emulator does not, and unknown operations. */
import type { HeaderMap } from '../http/headers.js'
import { OssError } from '../oss-error.js'
import type { Reply } from '../reply.js'
import type { Operation } from './operation.js'

/** Query parameters of operations that the emulator does not support. */
const UNSUPPORTED_PARAMETERS = new Set(
  (
    'accessmonitor accessPoint accessPointConfigForObjectProcess accessPointForObjectProcess ' +
    'accessPointPolicy accessPointPolicyForObjectProcess antiDDosList archiveDirectRead asyncFetch ' +
    'asyncProcess bucketArchiveDirectRead callback-policy cleanRestoredObject cloudBoxes cloudboxes cname ' +
    'comp cors dataPipeline defaultAntiDDosInfo encryption httpsConfig img inventory inventoryId ' +
    'legalHold lifecycle live logging metaQuery objectInfo objectLink objectWorm overwriteConfig policy ' +
    'policyStatus processConfiguration publicAccessBlock qos qosInfo qosRequester redundancyTransition ' +
    'referer regionList regions replication replicationLocation replicationProgress requesterQosInfo ' +
    'requesterQoSInfo requestPayment resourceGroup resourcePool resourcePoolBuckets resourcePoolInfo ' +
    'restore retention rtc seal select stat status style styleName symlink transferAcceleration udf ' +
    'udfApplication udfApplicationLog udfId udfImage udfImageDesc udfName userAntiDDosInfo ' +
    'userDefinedLogFieldsConfig versioning versions vod website worm wormExtend wormId ' +
    'x-oss-access-point-name x-oss-async-process x-oss-process x-oss-redundancy-transition-taskid ' +
    'x-oss-write-get-object-response'
  ).split(' '),
)

/** Query parameter that makes a request one about an access point, with any sub-resource. */
export const ACCESS_POINT_PARAMETER = 'x-oss-access-point-name'

/** Headers of operations that the emulator does not support. */
const UNSUPPORTED_HEADERS = ['x-oss-process']

function notImplementedOperation(
  extra: Record<string, string>,
  access: Operation['access'] = 'create',
): Operation {
  return {
    name: 'NotImplemented',
    method: '',
    level: 'service',
    query: [],
    access,
    run: () => Promise.reject(new OssError('NotImplemented', { extra })),
  }
}

/**
 * Returns an operation that answers NotImplemented if the emulator does not support the request, else
 * undefined.
 */
export function unsupportedOperation(
  method: string,
  level: Operation['level'],
  query: ReadonlyMap<string, string>,
  headers: HeaderMap,
): Operation | undefined {
  const parameter = [...query.keys()].find(name => UNSUPPORTED_PARAMETERS.has(name))
  if (parameter !== undefined) return notImplementedOperation({ Parameter: parameter })
  const header = UNSUPPORTED_HEADERS.find(name => headers.has(name))
  if (header !== undefined) return notImplementedOperation({ Header: header })
  // form uploads, whose signature is in the form
  if (method === 'POST' && level === 'bucket' && !query.has('delete'))
    return notImplementedOperation({ Method: method }, 'anyone')
  return undefined
}

/** SealAppendObject. Answers as the service does where it lacks the operation. */
export function refuseSealing(): Promise<Reply> {
  const message = 'SealAppendable is not supported.'
  return Promise.reject(new OssError('OperationNotSupported', { message, ec: '0016-00000513' }))
}

/** An action on the data sets of MetaQuery. Answers as the service does where it lacks the operation. */
export function refuseMetaQueryAction(): Promise<Reply> {
  return Promise.reject(new OssError('OperationNotSupported', { ec: '0037-00000001' }))
}

/** A request that matches no route. */
export const UNKNOWN_OPERATION: Operation = {
  name: 'Unknown',
  method: '',
  level: 'service',
  query: [],
  access: 'create',
  run: () => Promise.reject(new OssError('MethodNotAllowed')),
}
