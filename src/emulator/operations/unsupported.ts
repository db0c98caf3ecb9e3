/** Operations that OSS supports and the emulator does not, and unknown operations. */
import type { HeaderMap } from '../http/headers.js'
import { OssError } from '../oss-error.js'
import type { Operation } from './operation.js'

/** Query parameters of operations that the emulator does not support. */
const UNSUPPORTED_PARAMETERS = new Set(
  (
    'accessPoint accessPointPolicy archiveDirectRead asyncFetch bucketArchiveDirectRead cname comp cors encryption ' +
    'httpsConfig img inventory lifecycle live logging metaQuery policy policyStatus ' +
    'publicAccessBlock qos qosInfo referer regions replication replicationLocation replicationProgress ' +
    'requestPayment requesterQoSInfo resourceGroup restore rtc seal select stat status style symlink ' +
    'transferAcceleration userDefinedLogFieldsConfig versioning versions vod website worm wormExtend ' +
    'wormId x-oss-process'
  ).split(' '),
)

/** Headers of operations that the emulator does not support. */
const UNSUPPORTED_HEADERS = ['x-oss-process', 'x-oss-server-side-data-encryption']

function notImplementedOperation(extra: Record<string, string>): Operation {
  return {
    name: 'NotImplemented',
    method: '',
    level: 'service',
    query: [],
    access: 'create',
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
  const version = query.get('versionId')
  if (version !== undefined && version !== 'null')
    return notImplementedOperation({ Parameter: 'versionId' })
  const header = UNSUPPORTED_HEADERS.find(name => headers.has(name))
  if (header !== undefined) return notImplementedOperation({ Header: header })
  // form uploads and CORS preflight requests
  if (method === 'OPTIONS' || (method === 'POST' && level === 'bucket' && !query.has('delete')))
    return notImplementedOperation({ Method: method })
  return undefined
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
