/**
 * The one table that says what a failure means and so what is done about it. By OSS's code first,
 * then by the name of a failure without a reply, then by HTTP status (OSS documentation, error
 * responses and EC troubleshooting; behaviour of ali-oss and urllib).
 */

/**
 * - `aborted`: we ended the request ourselves
 * - `recovered`: its cause was removed (new credentials, clock set right): retry at once
 * - `throttled`: OSS asks for less: all parts pause, fewer go out at a time
 * - `transient`: worth another attempt, later; the request may or may not have taken effect
 * - `no-upload`: the upload id is gone: look whether we succeeded, else begin a new one
 * - `stale-part`: Complete does not know a part as we named it: ask which parts there are
 * - `exists`: the key is taken and must not be overwritten: give up for good
 * - `expired`: the credentials are refused as such: renew them, else as `denied`
 * - `skewed`: our clock is wrong: take the server's, else as `transient`
 * - `denied`: credentials, permission, signature, bucket, certificate: give up until a person mends it
 * - `refused`: OSS will not take this request, however often it is sent: give up, resumably
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
  FileImmutable: 'exists',

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

  ServiceUnavailable: 'throttled',
  SlowDown: 'throttled',
  TooManyRequests: 'throttled',
  UploadTrafficRateLimitExceeded: 'throttled',
  DownloadTrafficRateLimitExceeded: 'throttled',
  TotalQpsLimitExceeded: 'throttled',
  MetaOperationQpsLimitExceeded: 'throttled',
  ActiveRequestLimitExceeded: 'throttled',
  CpuLimitExceeded: 'throttled',

  // Transmission errors that OSS reports as the client's fault; a fresh body heals them.
  InvalidDigest: 'transient',
  InvalidCRC64: 'transient',
  IncompleteBody: 'transient',
  RequestTimeout: 'transient',
  BadRequest: 'transient',
  InternalError: 'transient',
}

const KIND_BY_ERROR_NAME: Readonly<Record<string, RequestErrorKind>> = {
  CredentialsUnavailable: 'denied',
  ProxyDenied: 'denied',

  // A certificate that does not prove who answers: nothing is sent to strangers.
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

  // Node refused to make such a request: it always will.
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

/** What is known of a failure. */
export interface RequestErrorFacts {
  readonly name: string
  readonly status?: number | undefined
  readonly ossCode?: string | undefined
  /** The reply did not come whole: what else it would have said is not known. */
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
  if (name === 'AbortError') return 'aborted' // whatever the reply began to say
  if (status === undefined || status < 300) return lookUp(KIND_BY_ERROR_NAME, name) ?? 'transient' // or cut short
  if (status >= 500 || status === 429) return lookUp(KIND_BY_STATUS, status) ?? 'transient'
  // Why it is refused is in the body: a part that came too slowly and a bucket that is not there
  // differ by nothing else.
  return cut === true ? 'transient' : (lookUp(KIND_BY_STATUS, status) ?? 'refused')
}

/** Names come from servers: `constructor` is not in the table. */
function lookUp<T>(
  table: Readonly<Record<string, T>>,
  key: string | number | undefined,
): T | undefined {
  return key !== undefined && Object.hasOwn(table, key) ? table[key] : undefined
}
