/**
 * The check-up of OSS: that it is reached, that clocks agree, and that this user may do in the bucket
 * what an upload does. Its probe is an upload id that is made and aborted: no object comes to be.
 */
import { randomBytes } from 'node:crypto'
import { errorKind, OssRequestError } from '../../oss/request-error.js'
import type { Bucket } from '../../oss/bucket.js'
import type { CliConnection } from '../connection.js'
import {
  failedResult,
  okResult,
  skippedResult,
  warningResult,
  type CheckResult,
} from './check-result.js'

/** OSS refuses what is signed 15 minutes beside its clock. */
const CLOCK_SKEW_WARNING_MS = 60_000

/** @param prefix where the probe's key begins: permissions may be given for a folder only */
export async function checkOss(
  connection: CliConnection,
  bucketName: string,
  prefix: string,
  signal: AbortSignal,
): Promise<CheckResult[]> {
  const place = connection.place(bucketName)
  const bucket = connection.open(place)
  const key = `${prefix}.oss-spool-probe-${randomBytes(6).toString('hex')}`
  const callOptions = { signal }
  let uploadId: string
  try {
    uploadId = await bucket.initiate(key, {}, callOptions)
  } catch (error) {
    return explainInitiateFailure(`oss://${bucketName}`, error, bucket)
  }
  const checkPermission = async (
    action: string,
    permission: string,
    request: () => Promise<unknown>,
  ) => {
    try {
      await request()
      return okResult(`may ${action}`, permission)
    } catch (error) {
      return failedResult(
        `may ${action}`,
        errorText(error),
        `Grant ${permission} on oss://${bucketName}/${prefix}*`,
      )
    }
  }
  return [
    okResult('bucket', `oss://${bucketName} at ${place.endpoint}`),
    checkClock(bucket),
    okResult('may write', 'oss:PutObject'),
    await checkPermission('list parts', 'oss:ListParts', () =>
      bucket.listParts(key, uploadId, callOptions),
    ),
    await checkPermission('read', 'oss:GetObject', () => bucket.head(key, callOptions)),
    await checkPermission('abort', 'oss:AbortMultipartUpload', () =>
      bucket.abort(key, uploadId, callOptions),
    ),
  ]
}

function checkClock(bucket: Bucket): CheckResult {
  const skew = bucket.now() - Date.now()
  const seconds = Math.round(skew / 1000)
  if (Math.abs(skew) < CLOCK_SKEW_WARNING_MS)
    return okResult('clock', `within ${Math.max(1, Math.abs(seconds))} s of OSS's`)
  const message = `${Math.abs(seconds)} s ${seconds > 0 ? 'behind' : 'ahead of'} OSS's`
  return warningResult(
    'clock',
    message,
    'Uploads correct for it; set the clock right (NTP) all the same',
  )
}

/** Why not even an upload id could be made. */
function explainInitiateFailure(bucketUrl: string, error: unknown, bucket: Bucket): CheckResult[] {
  const remainingChecks = ['clock', 'may write', 'may list parts', 'may read', 'may abort']
  const skipRemaining = (reason: string, startIndex = 0): CheckResult[] =>
    remainingChecks.slice(startIndex).map(check => skippedResult(check, reason))
  if (!(error instanceof OssRequestError)) throw error
  const { status, ossCode } = error
  const message = errorText(error)
  if (status === undefined) {
    const fix = 'Check endpoint, region, proxy and network'
    return [
      failedResult('endpoint', `cannot be reached: ${message}`, fix),
      ...skipRemaining('no connection'),
    ]
  }
  const clockResult = checkClock(bucket)
  if (ossCode === 'NoSuchBucket') {
    const fix = 'Make the bucket, or mend its name or region'
    return [
      failedResult('bucket', `${bucketUrl}: ${message}`, fix),
      clockResult,
      ...skipRemaining('no bucket', 1),
    ]
  }
  if (
    ['InvalidAccessKeyId', 'SignatureDoesNotMatch', 'SecurityTokenExpired'].includes(ossCode ?? '')
  ) {
    const fix = 'Mend the credentials: "oss-spool config show" says where they come from'
    return [
      failedResult('credentials', message, fix),
      clockResult,
      ...skipRemaining('not let in', 1),
    ]
  }
  if (errorKind(error) === 'denied') {
    const fix = `Grant oss:PutObject on ${bucketUrl}, or mend the region ("oss-spool config show")`
    return [
      failedResult('may write', message, fix),
      clockResult,
      ...skipRemaining('not allowed to write', 2),
    ]
  }
  return [
    failedResult('bucket', `${bucketUrl}: ${message}`, 'Try again later'),
    clockResult,
    ...skipRemaining('no answer', 1),
  ]
}

function errorText(error: unknown): string {
  return error instanceof OssRequestError ? error.describe() : String(error)
}
