/** Resolves a request to an operation, authorizes it, and runs it. */
import { checkAnonymousAccess } from './auth/anonymous-access.js'
import { authenticate } from './auth/authenticate.js'
import { PUBLIC_KEY_PATH, type CallbackKey } from './callback-key.js'
import type { EmulatorContext } from './emulator-context.js'
import type { ActiveFaults } from './faults/active-faults.js'
import { isCrossOrigin, isFromBrowser, isOwnHost } from './http/browser-guard.js'
import { candidateAddresses, type Address } from './http/bucket-address.js'
import type { HeaderMap } from './http/headers.js'
import { parseRequestTarget, type RequestTarget } from './http/request-target.js'
import type { RequestBody } from './request-body.js'
import { invalidBucketName, newBucket, noSuchBucket } from './operations/bucket.js'
import { withCorsHeaders } from './operations/cors.js'
import type { OperationContext, RequestConnection } from './operations/operation-context.js'
import type { Operation } from './operations/operation.js'
import { findOperation } from './operations/routes.js'
import { invalidArgument, OssError } from './oss-error.js'
import type { Reply } from './reply.js'
import type { RequestRecord } from './request-log.js'
import { isBucketName } from './store/buckets.js'
import { hasErrorCode } from './store/files.js'
import type { BucketRecord } from './store/record.js'
import { findVersion } from './store/versions.js'

/** Maximum length of a key, in bytes of UTF-8. */
const MAX_KEY_BYTES = 1023

/** A request in progress. */
export interface RequestContext {
  readonly emulator: EmulatorContext
  /** The raw request target. */
  readonly url: string
  readonly headers: HeaderMap
  readonly connection: RequestConnection
  readonly body: RequestBody
  readonly logEntry: RequestRecord
  readonly activeFaults: ActiveFaults
}

/**
 * Runs the operation of a request.
 *
 * @throws `OssError` if the request is refused, `ReplaceReplyError` or `ResetConnectionError` if a fault
 * ends it
 */
export async function dispatch(requestContext: RequestContext): Promise<Reply> {
  const { emulator, headers, body, logEntry, activeFaults } = requestContext
  const target = parseRequestTarget(requestContext.url)
  const host = target.host ?? headers.get('host') ?? ''
  const candidates = candidateAddresses(host, target.path, emulator.settings)
  // an object of any name may have the same path, with its bucket in the Host
  const isPathStyle = candidates[0].bucket === PUBLIC_KEY_PATH.slice(1)
  if (logEntry.method === 'GET' && target.path === PUBLIC_KEY_PATH && isPathStyle)
    return publicKeyReply(emulator.callbackKey)

  const preliminary = tryAuthenticate(requestContext, target, candidates, Date.now())
  refuseWebPages(requestContext, host, preliminary)
  const operation = logOperation(requestContext, target, preliminary.address)
  activeFaults.match(securityTokenOf(headers, target.query))
  const now = Date.now() + activeFaults.clockSkewMs
  const { address, signed, authError } = tryAuthenticate(requestContext, target, candidates, now)
  await activeFaults.fire('start')
  if (authError !== undefined) throw await precedingError(operation, address, emulator, authError)

  await checkNames(address, emulator)
  const versionId = target.query.get('versionId')
  checkVersionId(versionId)
  const addressed = { ...address, versionId }
  const bucket = await authorize(requestContext, operation, addressed, signed)
  const operationContext: OperationContext = {
    method: logEntry.method,
    headers,
    query: target.query,
    bucket: address.bucket ?? '',
    key: address.key ?? '',
    signed,
    host,
    connection: requestContext.connection,
    request: logEntry,
    now: emulator.clock.now() + activeFaults.clockSkewMs,
    body,
    store: emulator.store,
    settings: emulator.settings,
    callbackKey: emulator.callbackKey,
    versioning: bucket?.versioning,
    async authorizeRead(object) {
      await authorize(requestContext, { access: 'read' }, object, signed)
    },
  }
  if (body.isEmpty) await body.reachEnd()
  const reply = await operation.run(operationContext).catch(async (error: unknown) => {
    throw await errorOfDeletedBucket(operationContext, error)
  })
  return withCorsHeaders(reply, logEntry.method, headers, () =>
    emulator.store.buckets.get(operationContext.bucket),
  )
}

/** Returns 404 NoSuchBucket instead of a missing directory if the bucket was deleted while the request was handled. */
async function errorOfDeletedBucket(
  { store, bucket }: OperationContext,
  error: unknown,
): Promise<unknown> {
  if (bucket === '' || !hasErrorCode(error, 'ENOENT')) return error
  return (await store.buckets.get(bucket)) === undefined ? noSuchBucket(bucket) : error
}

async function publicKeyReply(callbackKey: CallbackKey): Promise<Reply> {
  const headers = { 'Content-Type': 'application/x-pem-file' }
  return { status: 200, headers, body: await callbackKey.publicPem() }
}

/**
 * Throws 403 AccessDenied for a request that a web page of another origin caused, or may have by DNS rebinding.
 * A signature proves that none did: no page knows a secret key, and SDKs may use any Host.
 */
function refuseWebPages(
  { emulator, headers }: RequestContext,
  host: string,
  { signed, authError }: Authentication,
): void {
  const { settings } = emulator
  if (settings.allowBrowsers) return
  if (isCrossOrigin(headers, host))
    throw new OssError('AccessDenied', {
      message: 'The emulator accepts no requests of web pages of other origins.',
    })
  if (isOwnHost(host, settings)) return
  const isSecretKey = authError === undefined && !settings.hasPublicKey
  if (!signed || (isFromBrowser(headers) && !isSecretKey))
    throw new OssError('AccessDenied', {
      message:
        'The emulator does not know this Host. Sign the request with your own key, or set `host` or `cnames`.',
    })
}

/** An attempt to authenticate. */
interface Authentication {
  readonly address: Address
  /** Whether the request is signed, also if the signature is refused. */
  readonly signed: boolean
  readonly authError?: OssError
}

/** Authenticates without throwing: a refusal is returned as `authError`, with the likeliest address. */
function tryAuthenticate(
  { emulator, headers, logEntry }: RequestContext,
  { query }: RequestTarget,
  candidates: readonly [Address, ...Address[]],
  now: number,
): Authentication {
  const { credentialStore, settings } = emulator
  const region = settings.region.replace(/^oss-/, '')
  try {
    const request = { method: logEntry.method, headers, query }
    return authenticate(request, candidates, { credentialStore, region }, now)
  } catch (error) {
    if (!(error instanceof OssError)) throw error
    return { address: candidates[0], signed: true, authError: error }
  }
}

/** Returns the STS token of a request, which presigned URLs have in the query. */
function securityTokenOf(
  headers: HeaderMap,
  query: ReadonlyMap<string, string>,
): string | undefined {
  const name = 'x-oss-security-token'
  return headers.get(name) ?? query.get(name) ?? query.get('security-token')
}

/** Logs operation, bucket, key, part number and upload id, which faults match on. */
function logOperation(
  { logEntry, headers }: RequestContext,
  { query }: RequestTarget,
  address: Address,
): Operation {
  const operation = findOperation(logEntry.method, address, query, headers)
  logEntry.operation = operation.name
  if (address.bucket !== undefined) logEntry.bucket = address.bucket
  if (address.key !== undefined) logEntry.key = address.key
  const partNumber = Number(query.get('partNumber') ?? Number.NaN)
  if (!Number.isNaN(partNumber)) logEntry.partNumber = partNumber
  const uploadId = query.get('uploadId')
  if (uploadId !== undefined) logEntry.uploadId = uploadId
  return operation
}

/** Returns the error of a refused request: the service looks for the bucket before it looks for the access key. */
async function precedingError(
  { access }: Operation,
  { bucket }: Address,
  { store, settings }: EmulatorContext,
  authError: OssError,
): Promise<OssError> {
  const precedes =
    authError.code === 'InvalidAccessKeyId' && access !== 'create' && !settings.createBuckets
  if (!precedes || bucket === undefined || !isBucketName(bucket)) return authError
  return (await store.buckets.get(bucket)) === undefined ? noSuchBucket(bucket) : authError
}

/** Throws 400 for an invalid name, or 404 NoSuchBucket for an invalid key in a bucket that does not exist. */
async function checkNames({ bucket, key }: Address, emulator: EmulatorContext): Promise<void> {
  if (bucket !== undefined && !isBucketName(bucket)) throw invalidBucketName(bucket)
  const keyError = key === undefined ? undefined : checkKey(key)
  if (keyError === undefined || bucket === undefined) return
  const { store, settings } = emulator
  const exists = settings.createBuckets || (await store.buckets.get(bucket)) !== undefined
  throw exists ? keyError : noSuchBucket(bucket)
}

/** Throws 400 InvalidArgument for an id that no version can have, and that no header can return. */
function checkVersionId(versionId: string | undefined): void {
  if (versionId !== undefined && /[^\x20-\x7e]/.test(versionId))
    throw invalidArgument('versionId', versionId, 'Invalid version id specified.')
}

function checkKey(key: string): OssError | undefined {
  const extra = { ObjectName: key }
  const message = 'The Length of Object name must be less than 1024.'
  if (Buffer.byteLength(key) > MAX_KEY_BYTES)
    return new OssError('InvalidObjectName', { message, extra })
  return /^[/\\]/.test(key) ? new OssError('InvalidObjectName', { extra }) : undefined
}

/**
 * Throws unless the bucket exists and the client has this access. Creates the bucket first if
 * `createBuckets` is set and the request is signed.
 *
 * @returns the bucket; undefined if the access does not require one
 */
async function authorize(
  { emulator }: RequestContext,
  { access, putsBucket = false }: Pick<Operation, 'access' | 'putsBucket'>,
  { bucket: name, key, versionId }: Address & { readonly versionId: string | undefined },
  signed: boolean,
): Promise<BucketRecord | undefined> {
  if (access === 'anyone') return undefined
  const { store, settings } = emulator
  if (access === 'create' || name === undefined) {
    if (!signed)
      throw new OssError('AccessDenied', {
        message: ANONYMOUS_FORBIDDEN_MESSAGE,
        ec: '0003-00000001',
      })
    return undefined
  }
  // the source of a copy may have any name
  if (settings.createBuckets && signed && isBucketName(name))
    await store.buckets.ensure(newBucket(name, Date.now()))
  const bucket = await store.buckets.get(name)
  if (bucket === undefined)
    throw putsBucket ? new OssError('MalformedXML', { ec: '0015-00000231' }) : noSuchBucket(name)
  if (signed) return bucket
  const versions = key === undefined ? [] : await store.objects.versions(name, key)
  checkAnonymousAccess(access, bucket, findVersion(versions, versionId))
  return bucket
}

const ANONYMOUS_FORBIDDEN_MESSAGE = 'Anonymous access is forbidden for this operation.'
