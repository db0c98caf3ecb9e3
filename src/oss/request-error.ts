/**
 * Sanitized error of a failed request. Errors of `ali-oss` and `urllib` contain signed URLs, headers, access key
 * ids and strings to sign, so none of them leaves this folder. An `OssRequestError` keeps the facts that users
 * and the retry policy need; `error-kinds.ts` classifies it.
 */
import { classify, FOREIGN_ERROR, UNUSABLE_REPLY, type RequestErrorKind } from './error-kinds.js'

export { FOREIGN_ERROR, UNUSABLE_REPLY }
export type { RequestErrorKind }

export interface OssRequestErrorDetails {
  /** Error name from Node, our transport or OSS, such as `ECONNREFUSED` or `NoSuchBucket`. */
  readonly name: string
  readonly message: string
  /** HTTP status; absent if there was no reply. */
  readonly status?: number | undefined
  readonly ossCode?: string | undefined
  readonly ec?: string | undefined
  readonly requestId?: string | undefined
  /** OSS's name of the operation, such as `UploadPart`. */
  readonly operation: string
  /** The cause was removed: the credentials or the clock were renewed. */
  readonly recovered?: boolean | undefined
  /** The reply was incomplete. */
  readonly truncated?: boolean | undefined
}

export class OssRequestError extends Error {
  declare readonly status?: number
  declare readonly ossCode?: string
  declare readonly ec?: string
  declare readonly requestId?: string
  /** Number of the part that failed. Set by the transfer, which sends it. */
  declare part?: number
  readonly operation: string
  readonly recovered: boolean
  readonly truncated: boolean

  constructor(details: OssRequestErrorDetails) {
    super(details.message)
    this.name = details.name
    this.operation = details.operation
    this.recovered = details.recovered ?? false
    this.truncated = details.truncated ?? false
    if (details.status !== undefined) this.status = details.status
    if (details.ossCode !== undefined) this.ossCode = details.ossCode
    if (details.ec !== undefined) this.ec = details.ec
    if (details.requestId !== undefined) this.requestId = details.requestId
  }

  /** Returns one line for messages: `UploadPart: 503 ServiceUnavailable (request 5C06...): ...`. */
  describe(): string {
    const what = [this.status, this.ossCode ?? this.name].filter(x => x !== undefined).join(' ')
    const request = this.requestId === undefined ? '' : ` (request ${this.requestId})`
    return `${this.operation}: ${what}${request}: ${this.message}`
  }
}

/** Classifies a failure, which determines how it is handled. */
export function errorKind(failure: OssRequestError): RequestErrorKind {
  return failure.recovered ? 'recovered' : classify(failure)
}

/** True when OSS says that the upload id does not exist (any more). */
export function isNoSuchUpload(error: unknown): error is OssRequestError {
  return error instanceof OssRequestError && errorKind(error) === 'no-upload'
}

/** True when OSS refuses an operation until the user changes a permission, however often it is tried. */
export function isRefusal(error: unknown): error is OssRequestError {
  return error instanceof OssRequestError && ['denied', 'refused'].includes(errorKind(error))
}

/** Reasons why a request can never work where it is sent to, by OSS's error code. */
const WRONG_TARGET_BY_CODE: Readonly<Record<string, 'bucket' | 'endpoint' | 'key'>> = {
  NoSuchBucket: 'bucket',
  InvalidBucketName: 'bucket',
  InvalidLocation: 'endpoint',
  InvalidLocationConstraint: 'endpoint',
  PermanentRedirect: 'endpoint',
  TemporaryRedirect: 'endpoint',
  SecondLevelDomainForbidden: 'endpoint',
  InvalidObjectName: 'key',
  KeyTooLong: 'key',
  KeyTooLongError: 'key',
}

/** Messages about a bucket in another region, whose codes have other meanings, too. */
const OTHER_REGION = /must be addressed using the specified endpoint|invalid signing region/i

/** Names of failures that are usual where no OSS is: no such host or port, no HTTP, or another certificate. */
const NO_OSS_THERE: ReadonlySet<string> = new Set([
  'ENOTFOUND',
  'ECONNREFUSED',
  'EPROTO',
  'ERR_TLS_CERT_ALTNAME_INVALID',
  FOREIGN_ERROR,
  UNUSABLE_REPLY,
])

/**
 * Returns what of the target may make the request fail however often it is sent: there is no such bucket or no OSS, the
 * bucket is in another region, or OSS accepts no such key.
 */
export function wrongTarget({
  name,
  status,
  ossCode,
  message,
}: OssRequestError): 'bucket' | 'endpoint' | 'key' | undefined {
  if (ossCode !== undefined && Object.hasOwn(WRONG_TARGET_BY_CODE, ossCode)) {
    return WRONG_TARGET_BY_CODE[ossCode]
  }
  const isRedirect = status !== undefined && status >= 300 && status < 400
  const isNoOss = NO_OSS_THERE.has(name) || name.startsWith('HPE_')
  return isNoOss || isRedirect || OTHER_REGION.test(message) ? 'endpoint' : undefined
}

/** True when the retention of the bucket or of the object (WORM) forbids replacing the object now. */
export function isImmutable(failure: OssRequestError): boolean {
  return failure.ossCode === 'FileImmutable'
}

/**
 * True when the object in the way may be our own: an earlier attempt, whose reply was lost, may have created it.
 */
export function mayBeOurOwn(failure: OssRequestError): boolean {
  return errorKind(failure) === 'exists' || isImmutable(failure)
}

/** Names of errors for requests that never reached a server. */
const NEVER_SENT: ReadonlySet<string> = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ConnectTimeout',
  'CredentialsTimeout',
  'ProxyDenied',
  'ProxyFailure',
])

/** Returns `true` if OSS may have executed the request although it failed for us. */
export function isAmbiguous(failure: OssRequestError): boolean {
  const { status, name } = failure
  if (NEVER_SENT.has(name)) return false
  return status === undefined || status < 400 || status === 408 || status >= 500
}
