/**
 * Interface between OSS and the rest of the project: one bucket, eight operations. `ali-oss-bucket.ts` implements it with
 * the real client. Every method rejects with an `OssRequestError`, or with the error of a body that fails.
 */
import type { FairShare } from '../util/fair-semaphore.js'
import type { BodyMeter } from './body-meter.js'

/** Limits the rate at which bytes are sent: the option `maxRate` of a `Spool`. `fleetRate()` creates one. */
export interface RateLimit {
  /** Maximum number of bytes per `take()`. */
  readonly slice: number
  /** Resolves when `bytes` (at most `slice`) may be sent, or as soon as `signal` is aborted. */
  take(bytes: number, signal: AbortSignal): Promise<void>
}

/** Location of a bucket. Recorded in the checkpoint, so that any later process can find it. */
export interface Place {
  /** `https://oss-cn-hangzhou.aliyuncs.com`, or `local:<directory>` for the embedded OSS. */
  readonly endpoint: string
  /** `oss-cn-hangzhou`; part of every V4 signature. */
  readonly region: string
  readonly bucket: string
  /** The endpoint is the bucket's own domain name. */
  readonly cname: boolean
  /** The bucket name is in the path instead of the host name (`sldEnable` of `ali-oss`). */
  readonly pathStyle: boolean
}

/** What is to differ at another place; the rest stays as it is, or follows from this. */
export type PlaceChange = Partial<Pick<Place, 'bucket' | 'region' | 'endpoint' | 'cname'>>

/** Headers with lower-case names and values ready for the wire. */
export type Headers = Readonly<Record<string, string>>

/** Options of one request. */
export interface CallOptions {
  /** Aborts the request immediately. The call then rejects with an `OssRequestError` named `AbortError`. */
  readonly signal?: AbortSignal | undefined
  /** Fails the request after this many ms without a byte in either direction. Default 60,000. */
  readonly idleTimeout?: number | undefined
  /** Takes a turn among the requests of all uploads. Default: the request is sent at once. */
  readonly share?: FairShare | undefined
  /** Counts the bytes of the body as they leave. One for each request. */
  readonly meter?: BodyMeter | undefined
}

/** Bytes in order. A chunk is valid until the next one is requested. */
export type UploadBody = AsyncIterable<Buffer>

/** Body of a part: exactly `size` bytes, created for each attempt. */
export interface PartBody {
  readonly number: number
  readonly size: number
  readonly body: UploadBody
  /** Headers of the request besides those of the body. */
  readonly headers?: Headers
}

/** A part as listed by OSS. */
export interface ListedPart {
  readonly number: number
  readonly size: number
  /** Includes its quotes, as Complete requires. */
  readonly etag: string
  /** Absent if the server does not compute it. */
  readonly crc64?: bigint
}

/** A reply of OSS. `progress` receives it, as it does in `ali-oss`. */
export interface HttpResponse {
  /** HTTP status. */
  readonly status: number
  /** Headers by lower-case name. */
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
}

export interface UploadedPart {
  readonly etag: string
  readonly crc64?: bigint
  readonly reply: HttpResponse
}

/** The reply to Complete or PutObject. */
export interface PublishResponse {
  readonly etag: string
  readonly crc64?: bigint
  readonly requestId: string
  readonly versionId?: string
  /** Response of the callback's server. */
  readonly callback?: unknown
  /** Reason why the callback failed although the object is stored (203 CallbackFailed). */
  readonly callbackFailed?: string
  readonly reply: HttpResponse
}

export interface ObjectInfo {
  readonly size: number
  readonly etag: string
  readonly crc64?: bigint
  /** Our token, if the object carries one. */
  readonly token?: string
  /** Fingerprint of the job that published the object, if it carries one. */
  readonly fingerprint?: string
  /** Time by OSS's clock, in ms since 1970; whole seconds. */
  readonly lastModified: number
  readonly versionId?: string
  readonly requestId: string
}

export interface ListedUpload {
  readonly key: string
  readonly uploadId: string
  /** Time by OSS's clock, in ms since 1970. */
  readonly initiated: number
}

/** One bucket. Any number of uploads may use it concurrently. */
export interface Bucket {
  /** Resolves with a new upload id for `key`. */
  initiate(key: string, headers: Headers, call: CallOptions): Promise<string>
  uploadPart(
    key: string,
    uploadId: string,
    part: PartBody,
    call: CallOptions,
  ): Promise<UploadedPart>
  /** All parts under `uploadId`, by part number; `undefined` when there is no such upload id. */
  listParts(
    key: string,
    uploadId: string,
    call: CallOptions,
  ): Promise<ReadonlyMap<number, ListedPart> | undefined>
  complete(
    key: string,
    uploadId: string,
    parts: readonly { number: number; etag: string }[],
    headers: Headers,
    call: CallOptions,
  ): Promise<PublishResponse>
  /** Deletes an upload id and its parts. @returns false when there is no such upload id */
  abort(key: string, uploadId: string, call: CallOptions): Promise<boolean>
  /** PutObject with Content-MD5. Calls `body` when the request is sent; rejects with its error if it fails. */
  put(
    key: string,
    body: () => Promise<Buffer>,
    headers: Headers,
    call: CallOptions,
  ): Promise<PublishResponse>
  /** Resolves with `undefined` if the object does not exist. */
  head(key: string, call: CallOptions): Promise<ObjectInfo | undefined>
  /** Lists the unfinished uploads of exactly `key`. */
  listUploads(key: string, call: CallOptions): Promise<ListedUpload[]>
  /** Returns the current time by OSS's clock, estimated from its replies, in ms since 1970. */
  now(): number
}

/** Opens buckets and owns their sockets. */
export interface OssConnection {
  /** Endpoint in the form of `Place.endpoint`. */
  readonly endpoint: string
  /** Whether `endpoint` is the connection's own, or configured for `bucket`. */
  isConfiguredFor(endpoint: string, bucket: string): boolean
  /**
   * Returns the location for new uploads.
   * @throws TypeError if no bucket is configured or its name is invalid
   */
  place(bucket?: string): Place
  /**
   * Returns `from` with a change, in the form of `Place`.
   * @throws TypeError if the result is no place of a bucket
   */
  changePlace(from: Place, change: PlaceChange): Place
  /** Returns whether the credentials may be sent to `place`: it is configured, or is OSS itself over HTTPS (rule 11). */
  mayReach(place: Pick<Place, 'endpoint' | 'bucket'>): boolean
  /** Returns the bucket. All its requests fail unsent if the credentials may not be sent there. */
  open(place: Place): Bucket
  /** Returns a warning if the server at the connection's endpoint is not verified. */
  tlsWarning(): string | undefined
  /** Limits the combined send rate of all requests. Each slice waits for all limits. */
  setLimits(limits: readonly RateLimit[]): void
  /** Closes idle sockets, so that a script exits by itself. */
  close(): void
}

/** User metadata header that carries our token, set at Initiate or PutObject. */
export const TOKEN_HEADER = 'x-oss-meta-oss-spool-token'

/** Name of the user metadata with the fingerprint of the job that published the object. */
export const FINGERPRINT_META = 'oss-spool-job'
