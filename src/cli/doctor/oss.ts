/**
 * Checks of OSS: it is reachable, the clocks agree, and this user has the permissions that an upload needs.
 * The probe initiates and aborts a multipart upload, so no object is created.
 */
import { randomBytes } from 'node:crypto'
import { errorKind, OssRequestError, wrongTarget } from '../../oss/request-error.js'
import type { Bucket } from '../../oss/bucket.js'
import type { CliConnection } from '../connection.js'
import type { Session } from '../session.js'
import {
  failedResult,
  okResult,
  skippedResult,
  warningResult,
  type CheckResult,
} from './check-result.js'

/** OSS rejects requests signed more than 15 minutes off its clock. Warn long before. */
const CLOCK_SKEW_WARNING_MS = 60_000

/**
 * Checks OSS with a probe upload.
 * @param prefix – prefix of the probe's key, since permissions may be granted for a folder only
 */
export async function checkOss(
  session: Session,
  connection: CliConnection,
  bucketName: string,
  prefix: string,
): Promise<CheckResult[]> {
  const place = connection.place(bucketName)
  const bucket = connection.open(place)
  const key = `${prefix}.oss-spool-probe-${randomBytes(6).toString('hex')}`
  const callOptions = { signal: session.signal }
  let uploadId: string
  try {
    uploadId = await bucket.initiate(key, {}, callOptions)
  } catch (error) {
    return explainInitiateFailure(session, `oss://${bucketName}/${prefix}`, error, bucket)
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
      const grant = `Grant ${permission} on oss://${bucketName}/${prefix}*`
      return failedResult(`may ${action}`, errorText(error), failureHint(error, grant))
    }
  }
  return [
    okResult('bucket', `oss://${bucketName} at ${place.endpoint}`),
    ...checkCertificate(connection),
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

/** @param grant – the hint for a refusal: only that is a matter of permissions */
function failureHint(error: unknown, grant: string): string {
  if (!(error instanceof OssRequestError) || error.status === undefined)
    return 'Check the network, and run the check again'
  if (isUnsupported(error)) return UNSUPPORTED_HINT
  if (errorKind(error) === 'denied') return grant
  return 'Run the check again. If it fails again, report the request id to the operator of the server'
}

const UNSUPPORTED_HINT =
  'Correct the endpoint, or use a server that supports this operation of OSS. With an OSS on your own machine, try --path-style'

/** Whether the server does not know the operation or the path, so that no permission would help. */
function isUnsupported({ status, ossCode }: OssRequestError): boolean {
  return status === 404 || status === 501 || ossCode === 'NotImplemented'
}

/** Reports a server that is not verified; nothing if it is. */
function checkCertificate(connection: CliConnection): CheckResult[] {
  const warning = connection.tlsWarning()
  const hint = 'Unset NODE_TLS_REJECT_UNAUTHORIZED'
  return warning === undefined ? [] : [warningResult('certificate', warning, hint)]
}

function checkClock(bucket: Bucket): CheckResult {
  const skew = bucket.now() - Date.now()
  const seconds = Math.round(skew / 1000)
  if (Math.abs(skew) < CLOCK_SKEW_WARNING_MS)
    return okResult('clock', `within ${Math.max(1, Math.abs(seconds))} s of the OSS clock`)
  const message = `${Math.abs(seconds)} s ${seconds > 0 ? 'behind' : 'ahead of'} the OSS clock`
  return warningResult(
    'clock',
    message,
    'Synchronise the clock with NTP. Until then, uploads compensate for the difference',
  )
}

/** Explains why Initiate failed. */
function explainInitiateFailure(
  session: Session,
  target: string,
  error: unknown,
  bucket: Bucket,
): CheckResult[] {
  const bucketUrl = target.split('/', 3).join('/')
  const showConfig = session.propose('config', 'show')
  const remainingChecks = ['clock', 'may write', 'may list parts', 'may read', 'may abort']
  const skipRemaining = (reason: string, startIndex = 0): CheckResult[] =>
    remainingChecks.slice(startIndex).map(check => skippedResult(check, reason))
  if (!(error instanceof OssRequestError)) throw error
  const { status, ossCode } = error
  const message = errorText(error)
  if (status === undefined) {
    const hint = 'Check the endpoint, its scheme (http:// or https://), region, proxy and network'
    return [
      failedResult('endpoint', `cannot be reached: ${message}`, hint),
      ...skipRemaining('no connection'),
    ]
  }
  const clockResult = checkClock(bucket)
  if (ossCode === 'NoSuchBucket') {
    const hint = 'Create the bucket, or correct its name or region'
    return [
      failedResult('bucket', `${bucketUrl}: ${message}`, hint),
      clockResult,
      ...skipRemaining('no bucket', 1),
    ]
  }
  if (
    ['InvalidAccessKeyId', 'SignatureDoesNotMatch', 'SecurityTokenExpired'].includes(ossCode ?? '')
  ) {
    const hint = `Fix the credentials. Run "${showConfig}" to see where they come from`
    return [
      failedResult('credentials', message, hint),
      clockResult,
      ...skipRemaining('credentials rejected', 1),
    ]
  }
  if (isUnsupported(error)) {
    return [
      failedResult('bucket', `${bucketUrl}: ${message}`, UNSUPPORTED_HINT),
      clockResult,
      ...skipRemaining('bucket check failed', 1),
    ]
  }
  if (errorKind(error) === 'denied') {
    const hint = `Grant oss:PutObject on ${bucketUrl}, or correct the region ("${showConfig}")`
    return [
      failedResult('may write', message, hint),
      clockResult,
      ...skipRemaining('not allowed to write', 2),
    ]
  }
  const hint =
    wrongTarget(error) === 'endpoint'
      ? `Correct the endpoint or the region. Run "${showConfig}" to see where they come from`
      : `Run "${session.propose('doctor', target)}" again later`
  return [
    failedResult('bucket', `${bucketUrl}: ${message}`, hint),
    clockResult,
    ...skipRemaining('bucket check failed', 1),
  ]
}

function errorText(error: unknown): string {
  return error instanceof OssRequestError ? error.describe() : String(error)
}
