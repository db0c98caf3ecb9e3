/**
 * The check-up of OSS: that it is reached, that clocks agree, and that this user may do in the bucket
 * what an upload does. Its probe is an upload id that is made and aborted: no object comes to be.
 */
import { randomBytes } from 'node:crypto'
import { errorKind, OssRequestError } from '../../oss/request-error.js'
import type { Bucket } from '../../oss/bucket.js'
import type { CliConnection } from '../connection.js'
import { failed, ok, skipped, warning, type Finding } from './finding.js'

/** OSS refuses what is signed 15 minutes beside its clock. */
const SKEW = 60_000

/** @param prefix where the probe's key begins: permissions may be given for a folder only */
export async function checkOss(
  connection: CliConnection,
  bucketName: string,
  prefix: string,
  signal: AbortSignal,
): Promise<Finding[]> {
  const place = connection.place(bucketName)
  const bucket = connection.open(place)
  const key = `${prefix}.oss-spool-probe-${randomBytes(6).toString('hex')}`
  const call = { signal }
  let uploadId: string
  try {
    uploadId = await bucket.initiate(key, {}, call)
  } catch (error) {
    return refused(`oss://${bucketName}`, error, bucket)
  }
  const may = async (action: string, need: string, what: () => Promise<unknown>) => {
    try {
      await what()
      return ok(`may ${action}`, need)
    } catch (error) {
      return failed(
        `may ${action}`,
        describe(error),
        `Grant ${need} on oss://${bucketName}/${prefix}*`,
      )
    }
  }
  return [
    ok('bucket', `oss://${bucketName} at ${place.endpoint}`),
    checkClock(bucket),
    ok('may write', 'oss:PutObject'),
    await may('list parts', 'oss:ListParts', () => bucket.listParts(key, uploadId, call)),
    await may('read', 'oss:GetObject', () => bucket.head(key, call)),
    await may('abort', 'oss:AbortMultipartUpload', () => bucket.abort(key, uploadId, call)),
  ]
}

function checkClock(bucket: Bucket): Finding {
  const skew = bucket.now() - Date.now()
  const seconds = Math.round(skew / 1000)
  if (Math.abs(skew) < SKEW)
    return ok('clock', `within ${Math.max(1, Math.abs(seconds))} s of OSS's`)
  const message = `${Math.abs(seconds)} s ${seconds > 0 ? 'behind' : 'ahead of'} OSS's`
  return warning('clock', message, 'Uploads correct for it; set the clock right (NTP) all the same')
}

/** Why not even an upload id could be made. */
function refused(name: string, error: unknown, bucket: Bucket): Finding[] {
  const rest = ['clock', 'may write', 'may list parts', 'may read', 'may abort']
  const others = (why: string, from = 0): Finding[] =>
    rest.slice(from).map(check => skipped(check, why))
  if (!(error instanceof OssRequestError)) throw error
  const { status, ossCode } = error
  const message = describe(error)
  if (status === undefined) {
    const mend = 'Check endpoint, region, proxy and network'
    return [failed('endpoint', `cannot be reached: ${message}`, mend), ...others('no connection')]
  }
  const clock = checkClock(bucket)
  if (ossCode === 'NoSuchBucket') {
    const mend = 'Make the bucket, or mend its name or region'
    return [failed('bucket', `${name}: ${message}`, mend), clock, ...others('no bucket', 1)]
  }
  if (
    ['InvalidAccessKeyId', 'SignatureDoesNotMatch', 'SecurityTokenExpired'].includes(ossCode ?? '')
  ) {
    const mend = 'Mend the credentials: "oss-spool config show" says where they come from'
    return [failed('credentials', message, mend), clock, ...others('not let in', 1)]
  }
  if (errorKind(error) === 'denied') {
    const mend = `Grant oss:PutObject on ${name}, or mend the region ("oss-spool config show")`
    return [failed('may write', message, mend), clock, ...others('not allowed to write', 2)]
  }
  return [
    failed('bucket', `${name}: ${message}`, 'Try again later'),
    clock,
    ...others('no answer', 1),
  ]
}

function describe(error: unknown): string {
  return error instanceof OssRequestError ? error.describe() : String(error)
}
