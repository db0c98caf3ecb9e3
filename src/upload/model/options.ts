/** Options of one upload: their meaning, defaults and limits. All are checked before any work begins. */
import { resolve } from 'node:path'
import {
  checkInteger,
  checkObject,
  checkProperties,
  invalidType,
  invalidValue,
  outOfRange,
} from '../../errors.js'
import { checkObjectOptions, type ObjectOptions } from '../../oss/object-headers.js'
import { FINGERPRINT_META, type HttpResponse } from '../../oss/bucket.js'
import { COMPRESSION_LEVELS, type Compression } from '../../util/compression.js'
import { omitUndefined } from '../../util/omit-undefined.js'
import type { Expectation } from './expectation.js'
import { checkId } from './names.js'
import { minParallel, type Parallel } from './parallel.js'
import { maxPartSizeFor, MAX_PART_SIZE, MAX_PARTS, MIB, MIN_PART_SIZE } from './plan.js'
import type { ProgressEvent } from './progress-event.js'
import type { RetryOptions } from './retry.js'
import { allowManyListeners, isAbortSignal, toLocalSignal } from '../../util/abort-signals.js'

/**
 * A checkpoint of `ali-oss`: its `multipartUpload` passes one to `progress`, and
 * `client.multipartUpload(key, file, { checkpoint })` finishes the upload with it. When a spool takes it over,
 * `doneParts` is ignored and OSS is asked which parts are done.
 */
export interface AliOssCheckpoint {
  /** Path of the file with the bytes. Checkpoints of a spool name its temp file, which is removed at the end. */
  readonly file: string
  /** Key of the object. */
  readonly name: string
  /** Size of the file in bytes. */
  readonly fileSize: number
  /** Size of every part except the last one, in bytes. */
  readonly partSize: number
  /** Upload id on OSS. */
  readonly uploadId: string
  /** Parts that OSS has. */
  readonly doneParts: readonly {
    /** Part number, from 1. */
    readonly number: number
    /** ETag as OSS returned it, with its quotes. */
    readonly etag: string
  }[]
}

/** Options of `createWriteStream` and `upload`. All but `id` and `checkpoint` can also be set on the `Spool`. */
export interface UploadOptions extends ObjectOptions {
  /**
   * Id of the upload: 1 to 128 of `A-Za-z0-9._-`, no dot at either end, no reserved name. The same id means
   * the same content. Default: derived from endpoint, bucket and key.
   */
  readonly id?: string
  /** Size of the first parts in bytes, 100 KiB to 5 GiB. @default 8 MiB */
  readonly partSize?: number
  /**
   * Maximum number of parts in flight, 1 to 1,000. `'auto'` starts with 5, and allows up to 32 while each increase
   * raises the throughput. @default 'auto'
   */
  readonly parallel?: number | 'auto'
  /** Size of the whole stream in bytes, if known. Determines the plan and is verified. */
  readonly size?: number
  /** Expected size and digests. On a mismatch, nothing is sealed or published: `ERR_SPOOL_EXPECTATION`. */
  readonly expect?: Expectation
  /**
   * When to send the first request: soon after the start (`'eager'`), once the first whole part is spooled
   * (`'first-part'`), or after the seal (`'sealed'`). @default 'eager'
   */
  readonly start?: 'eager' | 'first-part' | 'sealed'
  /**
   * Pauses the source while this many bytes are on disk, and frees acknowledged parts in the temp file. From
   * then on, the upload fails if its upload id disappears. No part is larger than
   * `maxSpoolBytes / (parallel + 1)`, which must be at least 100 KiB; `'auto'` counts as 5. Excludes
   * `start: 'sealed'`; does not apply to `inPlace`. @default no limit: all bytes stay on disk until the end
   */
  readonly maxSpoolBytes?: number
  /** Start of a source that is read again: 0 (`'restart'`) or after the verified bytes. @default 'restart' */
  readonly replay?: 'restart' | 'offset'
  /**
   * Takes over an unfinished `multipartUpload` of `ali-oss`: finishes it under its upload id and does not send
   * parts again that OSS already has with the same bytes. `partSize` and `size` are taken from the checkpoint.
   * Its Initiate fixed `headers`, `meta`, `mime` etc.; pass them again anyway, in case the upload id is gone
   * and a new one is initiated. Ignored once this spool has its own checkpoint of the upload.
   */
  readonly checkpoint?: AliOssCheckpoint
  /** `upload()` only: supersede an upload sealed more than this many ms ago instead of finishing it. */
  readonly maxAge?: number
  /**
   * Path of the file that the source reads, from start to end. Its bytes are not copied: parts are read from the
   * file, which is never moved, changed or removed. If its size, time or inode has changed at the seal or at a
   * later `resume()`, or its bytes change before they are sent, the upload fails with `ERR_SPOOL_SOURCE_FAILED`
   * and nothing is published.
   */
  readonly inPlace?: string
  /** Leave a receipt: later `upload()` calls with this id return it without reading or sending anything. */
  readonly once?: boolean
  /**
   * Attempts and delays. `attempts` are per part: they are counted from the seal, and the count restarts with
   * every part that succeeds. Retries continue for at least `minRetryTime` ms after the seal.
   * @default 5 attempts, 200 ms to 20 s, no minimum time
   */
  readonly retry?: Partial<RetryOptions>
  /** Fails a request after this many ms without a byte in either direction. @default 60,000 */
  readonly timeout?: number
  /** Fails the upload with `ERR_SPOOL_ABORTED`; its state is kept. */
  readonly signal?: AbortSignal
  /** Called with progress events, at most ten times a second and always with the last one. */
  readonly onProgress?: (progress: ProgressEvent) => void
  /**
   * Called after each part, as by `ali-oss`. `checkpoint` is `null` before the seal and when parts have different
   * sizes. An exception becomes a warning.
   */
  readonly progress?: (
    fraction: number,
    checkpoint: AliOssCheckpoint | null,
    response: HttpResponse | undefined,
  ) => unknown
}

/** Options that are not public, in addition to those that are. */
export interface InternalUploadOptions extends UploadOptions {
  /**
   * Compresses the bytes on their way into the spool. `size` and `expect` refer to the bytes before that. Excludes
   * `inPlace`, `checkpoint` and `replay: 'offset'`.
   */
  readonly compression?: Compression
  /**
   * Identifies the content, and is stored with the object. Before the source is called, an object that has this
   * fingerprint is the result: an earlier run published it, although its record is lost.
   */
  readonly fingerprint?: string
}

/** The options with all defaults filled in. */
export interface UploadSettings {
  readonly partSize: number
  readonly parallel: Parallel
  readonly size: number | undefined
  readonly expect: Expectation
  readonly start: NonNullable<UploadOptions['start']>
  readonly maxSpoolBytes: number | undefined
  /** Upper limit of the part size, in bytes. */
  readonly maxPartSize: number
  readonly replay: 'restart' | 'offset'
  readonly checkpoint: AliOssCheckpoint | undefined
  readonly maxAge: number | undefined
  readonly inPlace: string | undefined
  readonly compression: Compression | undefined
  readonly fingerprint: string | undefined
  readonly once: boolean
  readonly retry: RetryOptions
  readonly timeout: number | undefined
  readonly signal: AbortSignal | undefined
  readonly progress: UploadOptions['progress']
  readonly onProgress: UploadOptions['onProgress']
  readonly object: ObjectOptions
}

/** Names of the options. The compiler checks that none is missing. */
const UPLOAD_OPTIONS: Readonly<Record<keyof InternalUploadOptions, true>> = {
  id: true,
  partSize: true,
  parallel: true,
  size: true,
  expect: true,
  start: true,
  maxSpoolBytes: true,
  replay: true,
  checkpoint: true,
  maxAge: true,
  inPlace: true,
  compression: true,
  fingerprint: true,
  once: true,
  retry: true,
  timeout: true,
  signal: true,
  progress: true,
  onProgress: true,
  headers: true,
  meta: true,
  mime: true,
  storageClass: true,
  acl: true,
  tags: true,
  overwrite: true,
  callback: true,
}
const EXPECTATIONS: Readonly<Record<keyof Expectation, true>> = {
  bytes: true,
  md5: true,
  sha256: true,
  crc64: true,
}
const RETRY_OPTIONS: Readonly<Record<keyof RetryOptions, true>> = {
  attempts: true,
  minDelay: true,
  maxDelay: true,
  minRetryTime: true,
}

/**
 * Checks all options and fills in the defaults.
 * @throws TypeError or RangeError that names the option, its limits and the received value
 */
export function checkOptions(options: InternalUploadOptions): UploadSettings {
  checkObject('options', options)
  checkProperties('options', options, UPLOAD_OPTIONS)
  const {
    id,
    checkpoint,
    expect = {},
    replay = 'restart',
    start = 'eager',
    once = false,
    inPlace,
    compression,
    fingerprint,
    parallel = 'auto',
  } = options
  if (id !== undefined) checkId(id)
  checkInteger('partSize', options.partSize, MIN_PART_SIZE, MAX_PART_SIZE)
  checkParallel(parallel)
  checkInteger('timeout', options.timeout, 1, 2 ** 31 - 1)
  checkInteger('maxAge', options.maxAge, 0, Number.MAX_SAFE_INTEGER)
  checkObject('expect', expect)
  checkProperties('expect', expect, EXPECTATIONS)
  checkInteger('expect.bytes', expect.bytes, 0, Number.MAX_SAFE_INTEGER)
  checkDigest('expect.md5', expect.md5, /^[0-9a-f]{32}$/i, '32 hexadecimal digits')
  checkDigest('expect.sha256', expect.sha256, /^[0-9a-f]{64}$/i, '64 hexadecimal digits')
  checkDigest('expect.crc64', expect.crc64, /^\d{1,20}$/, 'an unsigned decimal number')
  checkChoice('start', start, ['eager', 'first-part', 'sealed'])
  checkChoice('replay', replay, ['restart', 'offset'])
  if (inPlace !== undefined && typeof inPlace !== 'string') {
    throw invalidType('inPlace', 'a string', inPlace)
  }
  if (compression !== undefined) checkCompression(compression, options)
  if (typeof once !== 'boolean') throw invalidType('once', 'a boolean', once)
  // A file that is read in place takes no space in the spool.
  const maxSpoolBytes = inPlace === undefined ? options.maxSpoolBytes : undefined
  checkMaxSpoolBytes(maxSpoolBytes, minParallel(parallel), start)
  const maxPartSize =
    maxSpoolBytes === undefined
      ? MAX_PART_SIZE
      : maxPartSizeFor(maxSpoolBytes, minParallel(parallel))
  if (checkpoint !== undefined) checkImportedCheckpoint(checkpoint, options.size, maxPartSize)
  const { partSize = 8 * MIB } = checkpoint ?? options
  const size = checkpoint?.fileSize ?? options.size
  checkInteger('size', size, 0, maxPartSize * MAX_PARTS)
  const { progress, onProgress } = options
  const signal = checkSignal(options.signal)
  if (progress !== undefined && typeof progress !== 'function') {
    throw invalidType('progress', 'a function', progress)
  }
  if (onProgress !== undefined && typeof onProgress !== 'function') {
    throw invalidType('onProgress', 'a function', onProgress)
  }
  const { headers, meta, mime, storageClass, acl, tags, overwrite, callback } = options
  const object = omitUndefined({
    headers,
    meta,
    mime,
    storageClass,
    acl,
    tags,
    overwrite,
    callback,
  })
  checkObjectOptions(object)
  const marked = fingerprint === undefined ? object : withFingerprint(object, fingerprint)
  return {
    partSize,
    parallel,
    size,
    expect,
    start,
    maxSpoolBytes,
    maxPartSize,
    replay,
    checkpoint,
    maxAge: options.maxAge,
    inPlace: inPlace === undefined ? undefined : resolve(inPlace),
    compression,
    fingerprint,
    once,
    retry: checkRetry(options.retry),
    timeout: options.timeout,
    signal,
    progress,
    onProgress,
    object: marked,
  }
}

/** @throws TypeError if there is no space left for it in the metadata */
function withFingerprint(object: ObjectOptions, fingerprint: string): ObjectOptions {
  const marked = { ...object, meta: { ...object.meta, [FINGERPRINT_META]: fingerprint } }
  checkObjectOptions(marked)
  return marked
}

/** Returns whether an upload was started by a job. */
export function hasFingerprint({ meta }: ObjectOptions): boolean {
  return meta?.[FINGERPRINT_META] !== undefined
}

function checkSignal(signal: unknown): AbortSignal | undefined {
  if (signal === undefined) return undefined
  if (!isAbortSignal(signal)) throw invalidType('signal', 'an AbortSignal', signal)
  allowManyListeners(signal) // one signal may abort any number of uploads
  return toLocalSignal(signal)
}

/** Rejects options that require the object to have the bytes of the source. */
function checkCompression(
  compression: Compression,
  { inPlace, checkpoint, replay }: UploadOptions,
): void {
  checkObject('compression', compression)
  checkProperties('compression', compression, { format: true, level: true })
  const { format, level } = compression
  checkChoice('compression.format', format, Object.keys(COMPRESSION_LEVELS))
  const { min, max } = COMPRESSION_LEVELS[format]
  checkInteger('compression.level', level, min, max)
  if (inPlace === undefined && checkpoint === undefined && replay !== 'offset') return
  const reason = "must not be combined with inPlace, checkpoint or replay: 'offset'"
  throw invalidValue('compression', reason, compression)
}

function checkParallel(parallel: unknown): void {
  if (parallel === 'auto') return
  if (typeof parallel !== 'number') throw invalidType('parallel', "a number or 'auto'", parallel)
  checkInteger('parallel', parallel, 1, 1000)
}

/** The minimum is one part of the smallest size for each part in flight, and one to fill. */
function checkMaxSpoolBytes(
  maxSpoolBytes: unknown,
  parallel: number,
  start: UploadSettings['start'],
): void {
  if (maxSpoolBytes === undefined) return
  const least = MIN_PART_SIZE * (parallel + 1)
  checkInteger('maxSpoolBytes', maxSpoolBytes, least, Number.MAX_SAFE_INTEGER)
  if (start !== 'sealed') return
  throw invalidValue('start', "must not be 'sealed' with maxSpoolBytes", start)
}

/** Checks a checkpoint of `ali-oss`, which the caller may have stored in a file or a database. */
function checkImportedCheckpoint(
  checkpoint: AliOssCheckpoint,
  size: number | undefined,
  maxPartSize: number,
): void {
  if (typeof checkpoint !== 'object' || checkpoint === null) {
    throw invalidType('checkpoint', 'an object', checkpoint)
  }
  for (const name of ['name', 'uploadId'] as const) {
    const value: unknown = checkpoint[name]
    if (typeof value === 'string' && value !== '') continue
    throw invalidType(`checkpoint.${name}`, 'a non-empty string', value)
  }
  const { partSize, fileSize } = checkpoint
  checkInteger('checkpoint.partSize', partSize ?? null, MIN_PART_SIZE, maxPartSize)
  checkInteger('checkpoint.fileSize', fileSize ?? null, 0, partSize * MAX_PARTS)
  if (size === undefined || size === fileSize) return
  throw invalidValue('size', `must equal the fileSize of the checkpoint (${fileSize})`, size)
}

/** @throws TypeError if the checkpoint's upload id belongs to another key */
export function checkImportedKey(key: string, checkpoint: AliOssCheckpoint | undefined): void {
  // `ali-oss` removes leading slashes from the key of its requests, but not in `name`.
  if (checkpoint === undefined || checkpoint.name.replace(/^\/+/, '') === key) return
  throw invalidValue('checkpoint', `must belong to the key ${JSON.stringify(key)}`, checkpoint.name)
}

function checkRetry(retry: Partial<RetryOptions> = {}): RetryOptions {
  checkObject('retry', retry)
  checkProperties('retry', retry, RETRY_OPTIONS)
  checkInteger('retry.attempts', retry.attempts, 1, 1_000_000)
  checkInteger('retry.minDelay', retry.minDelay, 0, 2 ** 31 - 1)
  checkInteger('retry.maxDelay', retry.maxDelay, 0, 2 ** 31 - 1)
  checkInteger('retry.minRetryTime', retry.minRetryTime, 0, Number.MAX_SAFE_INTEGER)
  const { attempts = 5, minDelay = Math.min(200, retry.maxDelay ?? 200) } = retry
  const { maxDelay = Math.max(20_000, minDelay) } = retry
  if (maxDelay < minDelay) {
    throw outOfRange('retry.maxDelay', `an integer >= retry.minDelay (${minDelay})`, maxDelay)
  }
  const minRetryTime = retry.minRetryTime === undefined ? {} : { minRetryTime: retry.minRetryTime }
  return { attempts, minDelay, maxDelay, ...minRetryTime }
}

function checkDigest(name: string, value: unknown, form: RegExp, words: string): void {
  if (value === undefined) return
  if (typeof value !== 'string') throw invalidType(name, 'a string', value)
  if (!form.test(value)) throw invalidValue(name, `must be ${words}`, value)
}

function checkChoice(name: string, value: unknown, allowed: readonly string[]): void {
  if (typeof value !== 'string' || !allowed.includes(value)) {
    throw invalidValue(name, `must be one of ${allowed.map(x => `'${x}'`).join(', ')}`, value)
  }
}
