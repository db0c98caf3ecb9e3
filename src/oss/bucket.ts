/**
 * What the rest of the project knows of OSS: one bucket, ten calls. `ali-oss.ts` implements it with
 * the real client; every method rejects with an `OssRequestError` and with nothing else.
 */
import type { FairShare } from '../util/fair-semaphore.js'

/** Something that says when bytes may be sent. */
export interface RateLimit {
  /** The most bytes that are taken at a time. */
  readonly slice: number
  /** Resolves when `bytes` (at most a slice) may be sent, or as soon as `signal` is aborted. */
  take(bytes: number, signal: AbortSignal): Promise<void>
}

/** Where a bucket is. Recorded in the checkpoint, so that any later process finds it again. */
export interface Place {
  /** `https://oss-cn-hangzhou.aliyuncs.com`, or `local:<directory>` for the embedded OSS. */
  readonly endpoint: string
  /** `oss-cn-hangzhou`; part of every V4 signature. */
  readonly region: string
  readonly bucket: string
  /** The endpoint is the bucket's own domain name. */
  readonly cname: boolean
  /** The bucket goes into the path instead of the host name (`sldEnable` of `ali-oss`). */
  readonly pathStyle: boolean
}

/** Lower-case header names and values ready for the wire. */
export type Headers = Readonly<Record<string, string>>

/** How one request is made. */
export interface CallOptions {
  /** Ends the request at once; the call then rejects with an `OssRequestError` named `AbortError`. */
  readonly signal?: AbortSignal | undefined
  /** Gives up after so many ms without any byte in either direction. Default 60,000. */
  readonly idleTimeout?: number | undefined
  /** Takes a turn among the requests of all uploads. Default: the request is sent at once. */
  readonly share?: FairShare | undefined
}

/** Bytes in order; a chunk is valid until the next one is asked for. */
export type UploadBody = AsyncIterable<Buffer>

/** A part to upload: exactly `size` bytes, with a fresh body for each attempt. */
export interface PartBody {
  readonly number: number
  readonly size: number
  readonly body: UploadBody
}

/** What OSS says of a part it has. */
export interface ListedPart {
  readonly number: number
  readonly size: number
  /** With its quotes, as Complete wants it back. */
  readonly etag: string
  /** Absent from replies of servers that do not compute it. */
  readonly crc64?: bigint
}

/** A reply whose headers `progress` hands on, as `ali-oss` does. */
export interface HttpResponse {
  /** HTTP status. */
  readonly status: number
  /** By names in lower case. */
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
  /** What the callback's server answered. */
  readonly callback?: unknown
  /** The object is stored, but its callback failed (203 CallbackFailed): why. */
  readonly callbackFailed?: string
  readonly reply: HttpResponse
}

export interface ObjectInfo {
  readonly size: number
  readonly etag: string
  readonly crc64?: bigint
  /** Our token, if the object carries one. */
  readonly token?: string
  /** By OSS's clock, in ms; whole seconds. */
  readonly lastModified: number
  readonly versionId?: string
  readonly requestId: string
}

export interface ListedUpload {
  readonly key: string
  readonly uploadId: string
  /** By OSS's clock, in ms. */
  readonly initiated: number
}

/** One bucket. Any number of uploads may use it at the same time. */
export interface Bucket {
  /** A new upload id for `key`. */
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
  /** PutObject, with Content-MD5. `body` is asked when it is sent; what it rejects with is thrown. */
  put(
    key: string,
    body: () => Promise<Buffer>,
    headers: Headers,
    call: CallOptions,
  ): Promise<PublishResponse>
  /** `undefined` when there is no such object. */
  head(key: string, call: CallOptions): Promise<ObjectInfo | undefined>
  /** The unfinished uploads of exactly `key`. */
  listUploads(key: string, call: CallOptions): Promise<ListedUpload[]>
  /** Now, by OSS's clock as its replies show it, in ms. */
  now(): number
}

/** Opens buckets; owns their sockets. */
export interface OssConnection {
  /** As `Place.endpoint`. */
  readonly endpoint: string
  /** Where new uploads go. @throws TypeError when no bucket is configured. */
  place(bucket?: string): Place
  open(place: Place): Bucket
  /** Limits what all requests send together; each slice waits for all of them. */
  setLimits(limits: readonly RateLimit[]): void
  /** Ends idle sockets, so that a script exits by itself. */
  close(): void
}

/** User metadata header that holds our token; from Initiate (or PutObject) on. */
export const TOKEN_HEADER = 'x-oss-meta-oss-spool-token'
