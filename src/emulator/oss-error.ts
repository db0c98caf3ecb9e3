/**
 * Error replies of OSS. One table holds status, message and EC of each code, so that an operation only
 * names the code; a code that is not in the table cannot be thrown. Messages are copied verbatim from
 * the service, spelling mistakes included.
 */

/** A row of the table: HTTP status, message, and the EC if OSS uses only one for this code. */
interface OssErrorDefinition {
  readonly status: number
  readonly message: string
  readonly ec?: string
}

const NO_SUCH_UPLOAD_MESSAGE =
  'The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.'

export const OSS_ERRORS = {
  AccessDenied: { status: 403, message: 'AccessDenied' },
  AccessForbidden: { status: 403, message: 'CORSResponse: This CORS request is not allowed.' },
  AccessKeyIdAndSecurityTokenNotMatch: {
    status: 403,
    message: 'The OSS access key id and security token you provided does not match.',
    ec: '0002-00000004',
  },
  ArchiveRestoreFileStale: { status: 409, message: 'The archive file or restore info stale' },
  ArchiveRestoreNotFinished: {
    status: 409,
    message: "The archive file's restore is not finished.",
    ec: '0016-00000719',
  },
  BadRequest: { status: 400, message: 'Invalid request.' },
  BucketAlreadyExists: {
    status: 409,
    message:
      // OSS's own words. language: allow
      'The requested bucket name is not available. The bucket namespace is shared by all users of the system. Please select a different name and try again.',
    ec: '0015-00000104',
  },
  BucketCallbackPolicyNotExist: {
    status: 404,
    message: 'The bucket callback policy does not exist.',
  },
  BucketNotEmpty: {
    status: 409,
    message: 'The bucket has objects. Please delete them first.',
    ec: '0015-00000301',
  },
  CallbackFailed: { status: 203, message: 'Error status : 502.', ec: '0007-00000203' },
  EntityTooLarge: {
    status: 400,
    message: 'Your proposed upload exceeds the maximum allowed size.',
  },
  EntityTooSmall: {
    status: 400,
    message: 'Your proposed upload smaller than the minimum allowed size.',
    ec: '0042-00000213',
  },
  FileAlreadyExists: {
    status: 409,
    message: 'The object you specified already exists and can not be overwritten.',
    ec: '0026-00000121',
  },
  IncompleteBody: {
    status: 400,
    message: 'You did not provide the number of bytes specified by the Content-Length HTTP header.',
  },
  InternalError: {
    status: 500,
    message: 'Please contact the server administrator, oss@service.aliyun.com.',
  },
  InvalidAccessKeyId: {
    status: 403,
    message: 'The OSS Access Key Id you provided does not exist in our records.',
    ec: '0002-00000902',
  },
  InvalidArgument: { status: 400, message: 'Invalid Argument.' },
  InvalidBucketName: { status: 400, message: 'The specified bucket is not valid.' },
  InvalidCRC64: {
    status: 400,
    message: 'The x-oss-hash-crc64ecma you specified does not match what we calculated.',
  },
  InvalidDigest: { status: 400, message: 'The Content-MD5 you specified was invalid.' },
  InvalidEncryptionAlgorithmError: {
    status: 400,
    message: 'The Encryption request you specified is not valid. Supported value: AES256/KMS.',
  },
  InvalidObjectName: { status: 400, message: 'The specified object is not valid.' },
  InvalidPart: {
    status: 400,
    message:
      "One or more of the specified parts could not be found or the specified entity tag might not have matched the part's entity tag.",
  },
  InvalidPartOrder: {
    status: 400,
    message: 'The list of parts was not in ascending order.',
    ec: '0042-00000209',
  },
  InvalidPolicyDocument: { status: 400, message: 'The policy document is not valid JSON.' },
  InvalidTargetType: { status: 400, message: "The symbolic's target file type is invalid" },
  InvalidWORMConfiguration: {
    status: 400,
    message: 'The worm configuration is invalid.',
  },
  InvalidRange: {
    status: 416,
    message: 'The requested range cannot be satisfied.',
    ec: '0026-00000011',
  },
  InvalidRequest: { status: 400, message: 'Invalid request.' },
  InvalidSecurityToken: {
    status: 403,
    message: 'The security token you provided is invalid.',
    ec: '0002-00000008',
  },
  MalformedXML: {
    status: 400,
    message:
      'The XML you provided was not well-formed or did not validate against our published schema.',
    ec: '0042-00000205',
  },
  MethodNotAllowed: {
    status: 405,
    message: 'The specified method is not allowed against this resource.',
  },
  MissingContentLength: {
    status: 411,
    message: 'You must provide the Content-Length HTTP header.',
    ec: '0017-00000101',
  },
  NoSuchBucket: {
    status: 404,
    message: 'The specified bucket does not exist.',
    ec: '0015-00000101',
  },
  NoSuchBucketPolicy: { status: 404, message: 'The bucket policy does not exist.' },
  NoSuchCORSConfiguration: { status: 404, message: 'The CORS Configuration does not exist.' },
  NoSuchInventory: { status: 404, message: 'The inventory does not exist.' },
  NoSuchLifecycle: { status: 404, message: 'No Row found in Lifecycle Table.' },
  NoSuchServerSideEncryptionRule: {
    status: 404,
    message: 'The server side encryption rule does not exist.',
  },
  NoSuchTransferAccelerationConfiguration: {
    status: 404,
    message: 'The transfer acceleration configuration does not exist.',
  },
  NoSuchUserDefinedLogFieldsConfig: {
    status: 404,
    message: 'The user-defined log fields do not exist.',
  },
  NoSuchWORMConfiguration: { status: 404, message: 'The WORM Configuration does not exist.' },
  NoSuchWebsiteConfiguration: {
    status: 404,
    message: 'The specified bucket does not have a website configuration.',
  },
  NoSuchKey: { status: 404, message: 'The specified key does not exist.', ec: '0026-00000001' },
  NoSuchOverwriteConfiguration: {
    status: 404,
    message: 'The overwrite configuration does not exist.',
  },
  NoSuchReplicationConfiguration: {
    status: 404,
    message: 'The replication configuration does not exist.',
  },
  NoSuchReplicationRule: { status: 404, message: 'The replication rule does not exist.' },
  NoSuchRegion: { status: 404, message: 'The specified region does not exist.' },
  NoSuchStyle: { status: 404, message: 'The style does not exist.' },
  NoSuchUpload: { status: 404, message: NO_SUCH_UPLOAD_MESSAGE, ec: '0042-00000002' },
  NoSuchVersion: { status: 404, message: 'The specified version does not exist.' },
  NotImplemented: {
    status: 400,
    message: 'A header you provided implies functionality that is not implemented.',
  },
  NotSymlink: { status: 400, message: 'The object is not symlink' },
  ObjectNotAppendable: {
    status: 409,
    message: 'The object is not appendable',
    ec: '0026-00000018',
  },
  OperationNotSupported: {
    status: 400,
    message: 'The operation is not supported for this resource',
    ec: '0016-00000702',
  },
  PartAlreadyExist: {
    status: 409,
    message: "For sequential multipart upload, you can't overwrite uploaded parts.",
    ec: '0042-00000108',
  },
  PartNotSequential: {
    status: 400,
    message: 'For sequential multipart upload, you must upload parts in order.',
  },
  PositionNotEqualToLength: {
    status: 409,
    message: 'Position is not equal to file length',
    ec: '0026-00000016',
  },
  PreconditionFailed: {
    status: 412,
    message: 'At least one of the pre-conditions you specified did not hold.',
  },
  RequestTimeTooSkewed: {
    status: 403,
    message: 'The difference between the request time and the current time is too large.',
    ec: '0002-00000504',
  },
  RequestTimeout: {
    status: 400,
    message:
      'Your socket connection to the server was not read from or written to within the timeout period. Idle connections will be closed.',
    ec: '0017-00000704',
  },
  RestoreAlreadyInProgress: {
    status: 409,
    message: 'The restore operation is in progress.',
    ec: '0016-00000701',
  },
  SecurityTokenExpired: {
    status: 403,
    message: 'The security token you provided has expired.',
    ec: '0002-00000007',
  },
  SignatureDoesNotMatch: {
    status: 403,
    message:
      'The request signature we calculated does not match the signature you provided. Check your key and signing method.',
    ec: '0002-00000040',
  },
  SymlinkTargetNotExist: {
    status: 404,
    message: 'The target object you specified does not exist.',
  },
  WORMConfigurationLocked: { status: 409, message: 'The WORM Configuration is locked.' },
  TooManyBuckets: {
    status: 400,
    message: 'You have attempted to create more buckets than allowed.',
  },
} as const satisfies Record<string, OssErrorDefinition>

/** An error code that the emulator's operations can answer. */
export type OssErrorCode = keyof typeof OSS_ERRORS

/** Details of an error that override or extend its row in the table. */
export interface OssErrorOptions {
  /** Replaces the table's message. */
  readonly message?: string
  /** Replaces the table's EC. */
  readonly ec?: string
  /** Elements of the error XML between HostId and EC, in order. */
  readonly extra?: Readonly<Record<string, string>>
  /** Response headers. */
  readonly headers?: Readonly<Record<string, string>>
}

/** An error reply. Thrown by operations and turned into XML in one place. */
export class OssError extends Error {
  readonly code: OssErrorCode
  readonly status: number
  readonly ec: string | undefined
  readonly extra: Readonly<Record<string, string>>
  readonly headers: Readonly<Record<string, string>>

  constructor(code: OssErrorCode, options: OssErrorOptions = {}) {
    const definition: OssErrorDefinition = OSS_ERRORS[code]
    super(options.message ?? definition.message)
    this.name = 'OssError'
    this.code = code
    this.status = definition.status
    this.ec = options.ec ?? definition.ec
    this.extra = options.extra ?? {}
    this.headers = options.headers ?? {}
  }
}

/** Returns 400 InvalidArgument with the argument's name and value, as OSS reports them. */
export function invalidArgument(
  name: string,
  value: string,
  message: string,
  ec?: string,
): OssError {
  return new OssError('InvalidArgument', {
    message,
    extra: { ArgumentName: name, ArgumentValue: value },
    ...(ec === undefined ? {} : { ec }),
  })
}
