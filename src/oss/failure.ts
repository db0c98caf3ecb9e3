/**
 * One request that failed, cleaned: `ali-oss` and `urllib` errors carry signed URLs, headers, access
 * key ids and strings to sign, so none of them leaves this folder. An `OssFailure` keeps what a
 * person or a retry policy needs, and `kindOf` is the one table that decides what it means.
 */

export interface FailureDetails {
  /** Error name as Node, our transport or OSS gave it: `ECONNREFUSED`, `NoSuchBucket`, ... */
  readonly name: string
  readonly message: string
  /** HTTP status; absent when no reply came. */
  readonly status?: number | undefined
  readonly ossCode?: string | undefined
  readonly ec?: string | undefined
  readonly requestId?: string | undefined
  /** Operation in OSS's words, such as `UploadPart`. */
  readonly operation: string
}

export class OssFailure extends Error {
  declare readonly status?: number
  declare readonly ossCode?: string
  declare readonly ec?: string
  declare readonly requestId?: string
  readonly operation: string

  constructor(details: FailureDetails) {
    super(details.message)
    this.name = details.name
    this.operation = details.operation
    if (details.status !== undefined) this.status = details.status
    if (details.ossCode !== undefined) this.ossCode = details.ossCode
    if (details.ec !== undefined) this.ec = details.ec
    if (details.requestId !== undefined) this.requestId = details.requestId
  }

  /** One line for people: `UploadPart: 503 ServiceUnavailable (request 5C06...): ...`. */
  describe(): string {
    const what = [this.status, this.ossCode ?? this.name].filter(x => x !== undefined).join(' ')
    const request = this.requestId === undefined ? '' : ` (request ${this.requestId})`
    return `${this.operation}: ${what}${request}: ${this.message}`
  }
}

/**
 * What a failure means:
 * - `aborted`: we ended the request ourselves
 * - `no-upload`: the upload id is gone
 * - `exists`: the key is taken and must not be overwritten
 * - `stale-part`: Complete does not know a part as we named it
 * - `denied`: credentials, permission, signature, bucket: a person has to mend it
 * - `refused`: OSS will not take this request, however often it is sent
 * - `transient`: worth another attempt; the request may or may not have taken effect
 */
export type FailureKind =
  'aborted' | 'no-upload' | 'exists' | 'stale-part' | 'denied' | 'refused' | 'transient'

const KIND_BY_CODE: Readonly<Record<string, FailureKind>> = {
  NoSuchUpload: 'no-upload',
  FileAlreadyExists: 'exists',
  ObjectAlreadyExists: 'exists',
  FileImmutable: 'exists',
  InvalidPart: 'stale-part',
  InvalidPartOrder: 'stale-part',
  EntityTooSmall: 'refused',
  NoSuchBucket: 'denied',
  InvalidBucketName: 'denied',
  // Transmission errors that OSS reports as the client's fault; a fresh body heals them.
  InvalidDigest: 'transient',
  InvalidCRC64: 'transient',
  IncompleteBody: 'transient',
  RequestTimeout: 'transient',
  BadRequest: 'transient',
  RequestTimeTooSkewed: 'transient',
  // Tokens expire; the credentials' source may have a newer one at the next attempt.
  SecurityTokenExpired: 'denied',
  InvalidSecurityToken: 'denied',
}

export function kindOf(failure: OssFailure): FailureKind {
  if (failure.name === 'AbortError') return 'aborted'
  const { ossCode = '' } = failure // from a server: it may be `constructor`
  const byCode = Object.hasOwn(KIND_BY_CODE, ossCode) ? KIND_BY_CODE[ossCode] : undefined
  if (byCode !== undefined) return byCode
  const status = failure.status
  // Node refused to make such a request (a header's bytes, a wrong argument): it always will.
  if (
    status === undefined &&
    /^(ERR_(INVALID|UNESCAPED|HTTP_INVALID|OUT_OF_RANGE)|URIError)/.test(failure.name)
  ) {
    return 'refused'
  }
  if (status === undefined || status < 300) return 'transient' // no reply, or one cut short
  if (status === 401 || status === 403) return 'denied'
  if (status === 408 || status === 429 || status >= 500) return 'transient'
  return 'refused'
}

/** The request never reached a server. */
const NEVER_SENT: ReadonlySet<string> = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ConnectTimeout',
])

/** True when OSS may have carried the request out although we were not told so. */
export function isAmbiguous(failure: OssFailure): boolean {
  const { status, name } = failure
  if (NEVER_SENT.has(name)) return false
  return status === undefined || status < 400 || status === 408 || status >= 500
}
