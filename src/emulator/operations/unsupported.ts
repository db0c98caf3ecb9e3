/** What OSS can do and the emulator cannot, and what nobody can do. */
import type { HeaderMap } from '../http/headers.js'
import { OssError } from '../oss-error.js'
import type { Operation } from './operation.js'

/** Parameters that call for operations the emulator does not have. */
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

/** Headers that do. */
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

/** An operation that refuses, if the request is for one the emulator does not have. */
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
  // POST of a form, and preflight requests of browsers
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
