/**
 * `Bucket` implemented with `ali-oss` 6.23. Hides the oddities of that client from the rest of the project:
 * its typings, lists that are objects, booleans that are strings, quotes, one instance per bucket, credentials
 * read when a request is signed. Does not use `multipartUpload`, because it shares one cancel flag among all
 * uploads, hides errors and cannot verify (ali-oss #1242, #904, #1388).
 */
import { createHash } from 'node:crypto'
import { Readable } from 'node:stream'
import type { Credentials } from './credentials.js'
import { stripControlChars } from '../util/control-chars.js'
import type { SecretMask } from '../util/secret-mask.js'
import {
  errorKind,
  FOREIGN_ERROR,
  isNoSuchUpload,
  OssRequestError,
  UNUSABLE_REPLY,
} from './request-error.js'
import {
  FINGERPRINT_META,
  TOKEN_HEADER,
  type Bucket,
  type CallOptions,
  type Headers,
  type HttpResponse,
  type ListedPart,
  type ListedUpload,
  type ObjectInfo,
  type PartBody,
  type Place,
  type PublishResponse,
  type UploadBody,
  type UploadedPart,
} from './bucket.js'
import type { ClientSettings } from './client-options.js'
import { importAliOss, type ImportAliOss } from './import-ali-oss.js'
import { ServerClock } from './server-clock.js'
import type { SendRequest, TransportContext, TransportRequest } from './transport.js'

interface AliOssResult {
  res: { status: number; headers: Record<string, string | string[] | undefined> }
}
interface AliOssRequestOptions {
  headers?: Record<string, string>
  /** A function, because `completeMultipartUpload` deep-copies its options. */
  ctx: () => TransportContext
}
/** Passed to `ali-oss`, which requires a stream but only forwards it. The `TransportContext` holds the real body. */
const BODY_PLACEHOLDER = new Readable({ read() {} })

type OneOrMany<T> = T | T[] | undefined

/** The part of `ali-oss` used here, typed by its actual behaviour (its own typings differ). */
interface AliOss {
  options: {
    accessKeyId: string
    accessKeySecret: string
    stsToken?: string | undefined
    /** Milliseconds added to the local clock when a request is dated. */
    amendTimeSkewed?: number
  }
  initMultipartUpload(
    key: string,
    o: AliOssRequestOptions,
  ): Promise<AliOssResult & { uploadId: string }>
  uploadPart(
    key: string,
    uploadId: string,
    number: number,
    body: Readable,
    start: number,
    end: number,
    o: AliOssRequestOptions,
  ): Promise<AliOssResult & { etag: string }>
  listParts(
    key: string,
    uploadId: string,
    query: Record<string, string>,
    o: AliOssRequestOptions,
  ): Promise<
    AliOssResult & {
      /** Missing if the reply is XML of another kind. */
      uploadId: unknown
      parts: OneOrMany<{ PartNumber: string; Size: string; ETag: string; HashCrc64ecma?: string }>
      isTruncated: string
      nextPartNumberMarker: string
    }
  >
  completeMultipartUpload(
    key: string,
    uploadId: string,
    parts: readonly { number: number; etag: string }[],
    o: AliOssRequestOptions,
  ): Promise<AliOssResult & { data?: unknown }>
  abortMultipartUpload(
    key: string,
    uploadId: string,
    o: AliOssRequestOptions,
  ): Promise<AliOssResult>
  put(
    key: string,
    body: Buffer,
    o: AliOssRequestOptions,
  ): Promise<AliOssResult & { data?: unknown }>
  head(key: string, o: AliOssRequestOptions): Promise<AliOssResult>
  listUploads(
    query: Record<string, string>,
    o: AliOssRequestOptions,
  ): Promise<
    AliOssResult & {
      /** Missing if the reply is XML of another kind. */
      bucket: unknown
      uploads: { name: string; uploadId: string; initiated: string }[]
      isTruncated: boolean
      nextKeyMarker: string
      nextUploadIdMarker: string
    }
  >
}

/** Options of one call, and its body where `ali-oss` is not given it. */
type Request = CallOptions & { readonly body?: UploadBody }

/** Maximum number of pages when listing the unfinished uploads of one key (20,000 uploads). */
const MAX_PAGES = 100

export class AliOssBucket implements Bucket {
  readonly #place: Place
  readonly #settings: ClientSettings
  readonly #sendRequest: SendRequest
  readonly #importClient: ImportAliOss
  #client: Promise<AliOss> | undefined
  readonly #clock = new ServerClock()

  constructor(
    place: Place,
    settings: ClientSettings,
    sendRequest: SendRequest,
    importClient = importAliOss,
  ) {
    this.#place = place
    this.#settings = settings
    this.#sendRequest = sendRequest
    this.#importClient = importClient
  }

  now(): number {
    return this.#clock.now()
  }

  get #secrets(): SecretMask {
    return this.#settings.secrets
  }

  /** Returns a header of a reply, which may be recorded or printed. */
  #masked(value: string | string[] | undefined): string | undefined {
    const first = firstValue(value)
    return first === undefined ? undefined : this.#secrets.mask(first)
  }

  async initiate(key: string, headers: Headers, call: CallOptions): Promise<string> {
    const { uploadId, res } = await this.#request('InitiateMultipartUpload', call, (oss, o) =>
      oss.initMultipartUpload(key, { ...o, headers: { ...headers } }),
    )
    if (isValidUploadId(uploadId) && !this.#secrets.isIn(uploadId)) return uploadId
    throw unusableReply(
      'InitiateMultipartUpload',
      'The reply contains no upload id',
      res,
      this.#secrets,
    )
  }

  async uploadPart(
    key: string,
    uploadId: string,
    part: PartBody,
    call: CallOptions,
  ): Promise<UploadedPart> {
    const { number, size, body, headers } = part
    const { etag, res } = await this.#request('UploadPart', { ...call, body }, (oss, o) =>
      oss.uploadPart(key, uploadId, number, BODY_PLACEHOLDER, 0, size, {
        ...o,
        headers: { ...headers },
      }),
    )
    if (!isETag(etag) || this.#secrets.isIn(etag))
      throw unusableReply('UploadPart', 'The reply has no ETag', res, this.#secrets)
    return { etag, ...crcHeader(res.headers), reply: res }
  }

  async listParts(
    key: string,
    uploadId: string,
    call: CallOptions,
  ): Promise<Map<number, ListedPart> | undefined> {
    const listed = new Map<number, ListedPart>()
    let marker = '0'
    for (;;) {
      const query = { 'max-parts': '1000', 'part-number-marker': marker }
      const page = await this.#request('ListParts', call, (oss, o) =>
        oss.listParts(key, uploadId, query, o),
      ).catch(ignoreNoSuchUpload)
      if (page === undefined) return undefined
      const unusable = (why: string): OssRequestError =>
        unusableReply('ListParts', why, page.res, this.#secrets)
      // A page that is not the list would read as an empty one, as if OSS had lost the parts.
      if (page.uploadId !== uploadId) throw unusable('The reply is not the list of this upload id')
      for (const part of toArray(page.parts)) {
        const [number, size] = [Number(part.PartNumber), Number(part.Size)]
        const isPart = isPartNumber(number) && Number.isSafeInteger(size) && isETag(part.ETag)
        if (!isPart || this.#secrets.isIn(part.ETag))
          throw unusable('The reply lists an invalid part')
        listed.set(number, { number, size, etag: part.ETag, ...parseCrc64(part.HashCrc64ecma) })
      }
      if (page.isTruncated !== 'true') return listed
      const next = Number(page.nextPartNumberMarker)
      const advances = isPartNumber(next) && next > Number(marker)
      if (!advances) throw unusable('The pages of the list do not advance')
      marker = String(next)
    }
  }

  async complete(
    key: string,
    uploadId: string,
    parts: readonly { number: number; etag: string }[],
    headers: Headers,
    call: CallOptions,
  ): Promise<PublishResponse> {
    return this.#publish('CompleteMultipartUpload', call, (oss, o) =>
      oss.completeMultipartUpload(key, uploadId, parts, { ...o, headers: { ...headers } }),
    )
  }

  put(
    key: string,
    read: () => Promise<Buffer>,
    headers: Headers,
    call: CallOptions,
  ): Promise<PublishResponse> {
    const { share: _taken, ...request } = call
    return takeTurn(call, async () => {
      const body = await read()
      const md5 = createHash('md5').update(body).digest('base64')
      return this.#publish('PutObject', request, (oss, o) =>
        oss.put(key, body, { ...o, headers: { ...headers, 'Content-MD5': md5 } }),
      )
    })
  }

  async abort(key: string, uploadId: string, call: CallOptions): Promise<boolean> {
    const aborted = await this.#request('AbortMultipartUpload', call, (oss, o) =>
      oss.abortMultipartUpload(key, uploadId, o),
    ).catch(ignoreNoSuchUpload)
    return aborted !== undefined
  }

  async head(key: string, call: CallOptions): Promise<ObjectInfo | undefined> {
    let headers: AliOssResult['res']['headers']
    try {
      headers = (await this.#request('HeadObject', call, (oss, o) => oss.head(key, o))).res.headers
    } catch (error) {
      // The code that `ali-oss` gives to every 404 without a body.
      if (error instanceof OssRequestError && error.ossCode === 'NoSuchKey') return undefined
      throw error
    }
    const token = firstValue(headers[TOKEN_HEADER])
    const fingerprint = firstValue(headers[`x-oss-meta-${FINGERPRINT_META}`])
    const versionId = this.#masked(headers['x-oss-version-id'])
    return {
      size: Number(headers['content-length'] ?? Number.NaN),
      etag: this.#masked(headers.etag) ?? '',
      lastModified: Date.parse(firstValue(headers['last-modified']) ?? ''),
      requestId: this.#masked(headers['x-oss-request-id']) ?? '',
      ...crcHeader(headers),
      ...(token === undefined ? {} : { token }),
      ...(fingerprint === undefined ? {} : { fingerprint }),
      ...(versionId === undefined ? {} : { versionId }),
    }
  }

  async listUploads(key: string, call: CallOptions): Promise<ListedUpload[]> {
    const listed: ListedUpload[] = []
    const markers = new Set<string>()
    let marker: Record<string, string> = {}
    for (;;) {
      const query = { prefix: key, 'max-uploads': '200', ...marker }
      const page = await this.#request('ListMultipartUploads', call, (oss, o) =>
        oss.listUploads(query, o),
      )
      const unusable = (why: string): OssRequestError =>
        unusableReply('ListMultipartUploads', why, page.res, this.#secrets)
      if (page.bucket === undefined) throw unusable('The reply is not a list of uploads')
      for (const { name, uploadId, initiated } of page.uploads) {
        if (name !== key) continue
        if (!isValidUploadId(uploadId) || this.#secrets.isIn(uploadId)) {
          throw unusable('The reply lists an invalid upload')
        }
        listed.push({ key, uploadId, initiated: Date.parse(initiated) })
      }
      // Keys are sorted and `key` is the smallest with this prefix, so a different key ends its list.
      if (!page.isTruncated || page.nextKeyMarker !== key) return listed
      const next = page.nextUploadIdMarker
      if (!isValidUploadId(next) || markers.has(next) || markers.size === MAX_PAGES) {
        throw unusable('The pages of the list do not advance')
      }
      markers.add(next)
      marker = { 'key-marker': key, 'upload-id-marker': next }
    }
  }

  async #publish(
    operation: string,
    call: CallOptions,
    send: (
      oss: AliOss,
      options: AliOssRequestOptions,
    ) => Promise<AliOssResult & { data?: unknown }>,
  ): Promise<PublishResponse> {
    const exchange: TransportContext = {}
    let callbackFailed: string | undefined
    let data: unknown
    try {
      data = (await this.#request(operation, call, send, exchange)).data
    } catch (error) {
      // 203: the object is stored; only the callback to the application's server failed.
      if (!(error instanceof OssRequestError) || error.status !== 203) throw error
      if (error.name === UNUSABLE_REPLY) throw error
      callbackFailed = error.message
    }
    const reply = exchange.reply ?? { status: 0, headers: {} }
    const versionId = this.#masked(reply.headers['x-oss-version-id'])
    return {
      etag: this.#masked(reply.headers.etag) ?? '',
      requestId: this.#masked(reply.headers['x-oss-request-id']) ?? '',
      reply,
      ...crcHeader(reply.headers),
      ...(versionId === undefined ? {} : { versionId }),
      ...(data === undefined ? {} : { callback: this.#secrets.maskData(data) }),
      ...(callbackFailed === undefined ? {} : { callbackFailed }),
    }
  }

  /**
   * Runs one call of `ali-oss` when its turn comes. Converts anything it throws to an `OssRequestError`, except
   * an error of the body.
   */
  #request<T>(
    operation: string,
    call: Request,
    send: (oss: AliOss, options: AliOssRequestOptions) => Promise<T>,
    exchange: TransportContext = {},
  ): Promise<T> {
    return takeTurn(call, async () => {
      const { signal, idleTimeout, body, meter } = call
      Object.assign(exchange, { signal, idleTimeout, body, meter })
      const keys = await this.#credentials(operation, signal)
      this.#secrets.add(keys.accessKeyId, keys.accessKeySecret, keys.stsToken)
      try {
        const oss = await (this.#client ??= this.#connect(keys))
        Object.assign(oss.options, { stsToken: undefined }, keys)
        const result = await send(oss, { ctx: () => exchange })
        if (!isForeign(operation, exchange.reply)) return result
        throw new Error(FOREIGN_REPLY)
      } catch (error) {
        if (exchange.bodyError !== undefined) throw exchange.bodyError
        const failure = toRequestError(operation, error, exchange, this.#secrets)
        if (!(await this.#recover(failure, keys, exchange))) throw failure
        throw toRequestError(operation, error, exchange, this.#secrets, { recovered: true })
      } finally {
        const { reply } = exchange
        if (reply !== undefined && isOssReply(reply)) this.#clock.read(reply)
      }
    })
  }

  /** @throws OssRequestError of the operation, whose request was not sent */
  async #credentials(operation: string, signal: AbortSignal | undefined): Promise<Credentials> {
    try {
      return await this.#settings.credentials.get(signal)
    } catch (error) {
      if (!(error instanceof OssRequestError)) throw error
      const { name, message } = error
      throw new OssRequestError({ operation, name, message })
    }
  }

  /** Tries to remove the cause of `failure`. Resolves with `true` if the same request may succeed now. */
  async #recover(
    failure: OssRequestError,
    keys: Credentials,
    exchange: TransportContext,
  ): Promise<boolean> {
    const kind = errorKind(failure)
    if (kind === 'expired') return this.#settings.credentials.renew(keys, exchange.signal)
    const oss = await this.#client
    const { reply } = exchange
    if (kind !== 'skewed' || reply === undefined || oss === undefined) return false
    const offset = this.#clock.readSkewed(reply, refusalXml(exchange))
    if (offset === undefined) return false
    oss.options.amendTimeSkewed = offset
    return true
  }

  async #connect(keys: Credentials): Promise<AliOss> {
    const { default: OSS } = await this.#importClient()
    const { endpoint, region, bucket, cname, pathStyle } = this.#place
    // `ali-oss` rejects IPv6 addresses. It is given an IPv4 address, which the transport replaces.
    const accepted = endpoint.replace(/\[.*\]/, '127.0.0.1')
    const send = this.#sendRequest
    const options = {
      ...keys,
      endpoint: accepted,
      region,
      bucket,
      cname,
      sldEnable: pathStyle,
      authorizationV4: this.#settings.authorizationV4,
      isRequestPay: this.#settings.isRequestPay,
      retryMax: 0,
      refreshSTSTokenInterval: Number.MAX_SAFE_INTEGER, // silences its warning about stsToken
      urllib: {
        request: (url: string, params: TransportRequest) =>
          send(url.startsWith(accepted) ? endpoint + url.slice(accepted.length) : url, params),
      },
    }
    // The typings lack half of these options and describe replies that do not exist.
    return new OSS(options) as unknown as AliOss
  }
}

/** Runs `step` when the upload's next turn comes; at once for a call that takes none. */
function takeTurn<T>({ share, signal }: CallOptions, step: () => Promise<T>): Promise<T> {
  return share === undefined ? step() : share.run(signal, step)
}

/** For `.catch()`: a missing upload id is an answer, not a failure. */
function ignoreNoSuchUpload(error: unknown): undefined {
  if (isNoSuchUpload(error)) return undefined
  throw error
}

/** Fields of the errors of `ali-oss`. */
interface AliOssError extends Error {
  code: string
  ecCode: string
  requestId: string
}

/** Returns the XML of a 403 reply, which is in a header for HEAD. */
function refusalXml({ reply, refusal }: TransportContext): string {
  return refusal || Buffer.from(firstValue(reply?.headers['x-oss-err']) ?? '', 'base64').toString()
}

/** Separates the message of `ali-oss` from the raw text of the reply. */
const RAW_XML_MARKER = '\nraw xml:'

/** Characters of a server's message that are kept. */
const MAX_MESSAGE_CHARS = 500
/** Characters of a server's message that are searched for secrets, which masking shortens. */
const MAX_SEARCHED_CHARS = 65_536

/** Code of `ali-oss` for a reply without one, as to HEAD. Its message then repeats the status, or is its parser's. */
const NO_CODE = 'UnknownError'

/** Keeps the useful facts, drops URLs, headers and keys, and masks `secrets` in every field. */
function toRequestError(
  operation: string,
  error: unknown,
  { reply, failure }: TransportContext,
  secrets: SecretMask,
  { recovered } = { recovered: false },
): OssRequestError {
  // The thrown value may be a plain object.
  const raw: Partial<AliOssError> = Object(failure ?? error)
  const headers = reply?.headers ?? {}
  if (failure === undefined && isForeign(operation, reply)) {
    return unusableReply(operation, FOREIGN_REPLY, reply, secrets)
  }
  // The code is OSS's, unless there is a `failure`, whose code is a system error.
  const token = (value: unknown): string | undefined => {
    const name = toToken(value)
    return name === undefined ? undefined : secrets.mask(name)
  }
  const given = raw.code === NO_CODE ? undefined : raw.code
  const code = failure === undefined ? token(given) : undefined
  const hasNoReason = failure === undefined && given === undefined && (reply?.status ?? 0) >= 400
  const text = raw.message || raw.name || 'It failed without a reason'
  // Mask before cutting: a secret that is cut could not be found as a whole.
  const masked = secrets.mask(text.split(RAW_XML_MARKER)[0]!.slice(0, MAX_SEARCHED_CHARS))
  const message = stripControlChars(masked.replaceAll(OPENSSL_ERROR, 'TLS failed: $1')).trim()
  // `ali-oss` appends a reply it cannot parse. Without a request id, the reply is a proxy's page, not OSS's.
  const isOss = headers['x-oss-request-id'] !== undefined
  const unreadable = text.includes(RAW_XML_MARKER) && isOss
  const unexplained = isOss
    ? { name: NO_CODE, message: 'The reply does not say why' }
    : { name: FOREIGN_ERROR, message: FOREIGN_REPLY }
  const explained = {
    name: (failure === undefined ? code : token(raw.code)) ?? token(raw.name) ?? 'Error',
    message: message.slice(0, MAX_MESSAGE_CHARS),
  }
  return new OssRequestError({
    operation,
    recovered,
    truncated: failure !== undefined || unreadable,
    ...(hasNoReason ? unexplained : explained),
    status: reply?.status,
    ossCode: code,
    ec: token(raw.ecCode) ?? token(headers['x-oss-ec']),
    requestId: token(raw.requestId) ?? token(headers['x-oss-request-id']),
  })
}

/** OpenSSL's text of an error, with the reason before the place in its source. Bounded, since servers send texts. */
const OPENSSL_ERROR =
  /(?:write EPROTO )?[0-9A-F]{1,16}:error:[0-9A-F]{1,8}:[^:]{0,80}:[^:]{0,80}:([^:]{1,200}):[^:]{0,300}:\d{1,6}:[^\n]*/g

const FOREIGN_REPLY =
  'The reply has no x-oss-request-id, so it is not from OSS but from something on the way to it'

/**
 * True if a proxy or a captive portal replied instead of OSS, and its reply would read as an answer: as success, or
 * to HEAD as "no such object".
 */
function isForeign(operation: string, reply: HttpResponse | undefined): boolean {
  if (reply === undefined || isOssReply(reply)) return false
  return reply.status < 400 || (reply.status === 404 && operation === 'HeadObject')
}

/** True if OSS itself sent this reply: all its replies have a request id. */
function isOssReply({ headers }: HttpResponse): boolean {
  return headers['x-oss-request-id'] !== undefined
}

function unusableReply(
  operation: string,
  message: string,
  reply: HttpResponse | undefined,
  secrets: SecretMask,
): OssRequestError {
  const id = toToken(reply?.headers['x-oss-request-id'])
  const requestId = id === undefined ? undefined : secrets.mask(id)
  return new OssRequestError({
    operation,
    name: UNUSABLE_REPLY,
    message,
    status: reply?.status,
    requestId,
  })
}

/** Returns `value` if it is a plausible name. A server's XML may contain elements or arbitrary text instead. */
function toToken(value: unknown): string | undefined {
  return typeof value === 'string' && /^[\x21-\x7e]{1,128}$/.test(value) ? value : undefined
}

/** Checks an upload id, which is inserted into URLs and checkpoints unchanged. */
function isValidUploadId(value: unknown): value is string {
  return typeof value === 'string' && /^[\x21-\x7e]{1,1024}$/.test(value)
}

/** Checks an ETag, which is inserted into the XML of Complete unchanged. */
function isETag(value: unknown): value is string {
  return typeof value === 'string' && /^"?[\w.+/=:-]{1,128}"?$/.test(value)
}

function isPartNumber(value: number): boolean {
  return Number.isInteger(value) && value >= 1 && value <= 10_000
}

function toArray<T>(value: OneOrMany<T>): T[] {
  return value === undefined ? [] : Array.isArray(value) ? value : [value]
}

function firstValue(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value[0] : value
}

function crcHeader(headers: AliOssResult['res']['headers']): { crc64?: bigint } {
  return parseCrc64(firstValue(headers['x-oss-hash-crc64ecma']))
}

function parseCrc64(value: string | undefined): { crc64?: bigint } {
  return value !== undefined && /^\d{1,20}$/.test(value) ? { crc64: BigInt(value) } : {}
}
