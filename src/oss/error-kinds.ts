/**
 * Classification of request failures. Looks up OSS's error code first, then the name of a failure without a
 * reply, then the HTTP status (OSS documentation, error responses and EC troubleshooting; behaviour of ali-oss
 * and urllib).
 */

/**
 * Kind of a failed request, which decides how it is handled; `reason` of the event `oss-spool:retry`.
 * - `aborted`: we aborted the request ourselves
 * - `recovered`: its cause was removed (credentials renewed, clock corrected); retry at once
 * - `throttled`: OSS limits the rate; pause all parts and send fewer concurrently
 * - `transient`: retry later; the request may or may not have taken effect
 * - `no-upload`: the upload id is gone; check whether the object was published, else initiate a new upload id
 * - `stale-part`: Complete does not recognise a part as we sent it; list the parts
 * - `exists`: the key is taken and must not be overwritten; fail permanently
 * - `expired`: OSS rejects the credentials themselves; renew them, else treat as `denied`
 * - `skewed`: the local clock is wrong; use the server's time, else treat as `transient`
 * - `denied`: credentials, permission, signature, bucket, retention or certificate; fail until the user fixes the
 *   cause
 * - `refused`: OSS rejects this request however often it is sent; fail, resumable
 */
export type RequestErrorKind =
  | 'aborted'
  | 'recovered'
  | 'throttled'
  | 'transient'
  | 'no-upload'
  | 'stale-part'
  | 'exists'
  | 'expired'
  | 'skewed'
  | 'denied'
  | 'refused'

const KIND_BY_OSS_CODE: Readonly<Record<string, RequestErrorKind>> = {
  NoSuchUpload: 'no-upload',
  InvalidPart: 'stale-part',
  InvalidPartOrder: 'stale-part',
  FileAlreadyExists: 'exists',
  ObjectAlreadyExists: 'exists',

  SecurityTokenExpired: 'expired',
  InvalidSecurityToken: 'expired',
  InvalidAccessKeyId: 'expired',
  AccessKeyIdAndSecurityTokenNotMatch: 'expired',
  RequestTimeTooSkewed: 'skewed',

  NoSuchBucket: 'denied',
  InvalidBucketName: 'denied',
  AccessDenied: 'denied',
  SignatureDoesNotMatch: 'denied',
  UserDisable: 'denied',
  SecondLevelDomainForbidden: 'denied',
  // Only until the retention (WORM) is over, so that it is no `exists`.
  FileImmutable: 'denied',

  ServiceUnavailable: 'throttled',
  SlowDown: 'throttled',
  TooManyRequests: 'throttled',
  UploadTrafficRateLimitExceeded: 'throttled',
  DownloadTrafficRateLimitExceeded: 'throttled',
  TotalQpsLimitExceeded: 'throttled',
  MetaOperationQpsLimitExceeded: 'throttled',
  ActiveRequestLimitExceeded: 'throttled',
  CpuLimitExceeded: 'throttled',

  // Transmission errors that OSS reports as the client's fault. Sending a fresh body fixes them.
  InvalidDigest: 'transient',
  InvalidCRC64: 'transient',
  IncompleteBody: 'transient',
  RequestTimeout: 'transient',
  BadRequest: 'transient',
  InternalError: 'transient',
}

const KIND_BY_ERROR_NAME: Readonly<Record<string, RequestErrorKind>> = {
  CredentialsUnavailable: 'denied',
  CredentialsWithheld: 'denied',
  ProxyDenied: 'denied',

  // The certificate does not prove the server's identity, so nothing is sent to it.
  DEPTH_ZERO_SELF_SIGNED_CERT: 'denied',
  SELF_SIGNED_CERT_IN_CHAIN: 'denied',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'denied',
  UNABLE_TO_GET_ISSUER_CERT: 'denied',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'denied',
  CERT_HAS_EXPIRED: 'denied',
  CERT_NOT_YET_VALID: 'denied',
  CERT_REVOKED: 'denied',
  CERT_UNTRUSTED: 'denied',
  ERR_TLS_CERT_ALTNAME_INVALID: 'denied',

  // Node rejects such a request, and always will.
  ERR_INVALID_CHAR: 'refused',
  ERR_INVALID_ARG_TYPE: 'refused',
  ERR_INVALID_ARG_VALUE: 'refused',
  ERR_INVALID_URL: 'refused',
  ERR_INVALID_HTTP_TOKEN: 'refused',
  ERR_UNESCAPED_CHARACTERS: 'refused',
  ERR_HTTP_INVALID_HEADER_VALUE: 'refused',
  URIError: 'refused',
}

const KIND_BY_STATUS: Readonly<Record<number, RequestErrorKind>> = {
  401: 'expired',
  403: 'denied',
  408: 'transient',
  429: 'throttled',
  503: 'throttled',
}

/** Name of failures whose reply is not OSS's, or not an answer to the request. */
export const UNUSABLE_REPLY = 'UnusableReply'

/** Name of failures whose reply is an error of something on the way to OSS. */
export const FOREIGN_ERROR = 'ForeignError'

/** Known facts about a failure. */
export interface RequestErrorFacts {
  readonly name: string
  readonly status?: number | undefined
  readonly ossCode?: string | undefined
  /** The reply was incomplete, so its error code may be missing. */
  readonly truncated?: boolean | undefined
}

export function classify({
  name,
  status,
  ossCode,
  truncated: cut,
}: RequestErrorFacts): RequestErrorKind {
  const byCode = lookUp(KIND_BY_OSS_CODE, ossCode)
  if (byCode !== undefined) return byCode
  if (name === UNUSABLE_REPLY) return 'transient' // with every status
  if (name === 'AbortError') return 'aborted' // regardless of a partial reply
  if (status === undefined || status < 300) return lookUp(KIND_BY_ERROR_NAME, name) ?? 'transient' // or cut short
  if (status >= 500 || status === 429) return lookUp(KIND_BY_STATUS, status) ?? 'transient'
  // The reason is in the body: nothing else distinguishes a part sent too slowly from a missing bucket.
  return cut === true ? 'transient' : (lookUp(KIND_BY_STATUS, status) ?? 'refused')
}

/** Looks up an own property. Names come from servers, and `constructor` must not match. */
function lookUp<T>(
  table: Readonly<Record<string, T>>,
  key: string | number | undefined,
): T | undefined {
  return key !== undefined && Object.hasOwn(table, key) ? table[key] : undefined
}
