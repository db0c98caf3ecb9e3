/**
 * The options of one upload: what they mean, their defaults and limits, and the check of all of them
 * before any work begins.
 */
import { setMaxListeners } from 'node:events'
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
import type { HttpResponse } from '../../oss/bucket.js'
import { omitUndefined } from '../../util/omit-undefined.js'
import type { Expectation } from './expectation.js'
import { checkId } from './names.js'
import { maxPartSizeFor, MAX_PART_SIZE, MAX_PARTS, MIB, MIN_PART_SIZE } from './plan.js'
import type { ProgressEvent } from './progress-event.js'
import type { RetryOptions } from './retry.js'

/**
 * What `client.multipartUpload(key, file, { checkpoint })` of `ali-oss` can finish by itself, and what
 * it gives to its `progress`. Whether a part is done is asked of OSS; `doneParts` is not believed.
 */
export interface AliOssCheckpoint {
  /** Path of the file with the bytes; of one of ours the temp file, which goes when the upload is done. */
  readonly file: string
  /** Key of the object. */
  readonly name: string
  /** Bytes of the file. */
  readonly fileSize: number
  /** Bytes of every part but the last one. */
  readonly partSize: number
  /** On OSS. */
  readonly uploadId: string
  /** The parts that OSS has. */
  readonly doneParts: readonly {
    /** Part number, from 1. */
    readonly number: number
    /** As OSS gave it, with its quotes. */
    readonly etag: string
  }[]
}

/** Options of `createWriteStream` and `upload`; each can be a default of the `Spool`, too. */
export interface UploadOptions extends ObjectOptions {
  /**
   * Names the upload: 1 to 128 of `A-Za-z0-9._-`, not starting with a dot. The same id means the
   * same content. Default: made from endpoint, bucket and key.
   */
  readonly id?: string
  /** Size of the first parts in bytes: 100 KiB to 5 GiB. @default 8 MiB */
  readonly partSize?: number
  /** Parts in flight: 1 to 1,000. @default 5 */
  readonly parallel?: number
  /** Bytes of the whole stream, if known: the parts are planned for it, and it is checked. */
  readonly size?: number
  /** A miss seals and publishes nothing: `ERR_SPOOL_EXPECTATION`. */
  readonly expect?: Expectation
  /** Send parts while spooling, or only after the seal. @default 'eager' */
  readonly start?: 'eager' | 'sealed'
  /**
   * The source waits while so many bytes are on disk, and acknowledged ranges of the temp file are
   * given back to it: from then on a vanished upload id is the end of the upload. No part is larger
   * than `maxSpoolBytes / (parallel + 1)`, which must be 100 KiB or more. Needs `start: 'eager'`; says
   * nothing of bytes that are read in place. @default no limit: all is kept to the end
   */
  readonly maxSpoolBytes?: number
  /** Whether a source that is read again starts at 0 or behind the verified bytes. @default 'restart' */
  readonly replay?: 'restart' | 'offset'
  /**
   * An unfinished `multipartUpload` of `ali-oss`: it is finished under its upload id, and parts that OSS
   * has with the same bytes are not sent again. `partSize` and `size` are those of the checkpoint; what
   * was fixed by its Initiate (`headers`, `meta`, `mime`, ...) stays and should be given again, for the
   * case that the upload id is gone and a new one is made. Of no more use once this spool has a
   * checkpoint of its own.
   */
  readonly checkpoint?: AliOssCheckpoint
  /** `upload()` only, ms: an upload sealed longer ago is superseded instead of finished. */
  readonly maxAge?: number
  /**
   * The file whose bytes the source brings, all of them in order: they are not copied, it is read
   * again where it is. It is never moved, changed or removed; if it changes before the upload is
   * done, that is `ERR_SPOOL_SOURCE_FAILED`, also after the seal, and nothing is published.
   */
  readonly inPlace?: string
  /** Leaves a receipt: a later `upload()` of this id returns it and touches nothing. */
  readonly once?: boolean
  /**
   * Per part; `attempts` counts from the seal, and anew with every part that arrives. `minRetryTime` (ms)
   * goes on for so long after the seal. @default 5 attempts, 200 ms to 20 s, no minimum time
   */
  readonly retry?: Partial<RetryOptions>
  /** Gives a request up after so many ms in which no byte moved. @default 60,000 */
  readonly timeout?: number
  /** Ends the upload with `ERR_SPOOL_ABORTED`; its state is kept. */
  readonly signal?: AbortSignal
  /** Called with progress events: at most ten times a second, and always with the last one. */
  readonly onProgress?: (progress: ProgressEvent) => void
  /**
   * Called as `ali-oss` calls it, after each part. Before the seal, and when parts have several
   * sizes, `checkpoint` is `null`. What it throws becomes a warning.
   */
  readonly progress?: (
    fraction: number,
    checkpoint: AliOssCheckpoint | null,
    response: HttpResponse | undefined,
  ) => unknown
}

/** The options with every default filled in. */
export interface UploadSettings {
  readonly partSize: number
  readonly parallel: number
  readonly size: number | undefined
  readonly expect: Expectation
  readonly start: 'eager' | 'sealed'
  readonly maxSpoolBytes: number | undefined
  /** No part is larger, in bytes. */
  readonly maxPartSize: number
  readonly replay: 'restart' | 'offset'
  readonly checkpoint: AliOssCheckpoint | undefined
  readonly maxAge: number | undefined
  readonly inPlace: string | undefined
  readonly once: boolean
  readonly retry: RetryOptions
  readonly timeout: number | undefined
  readonly signal: AbortSignal | undefined
  readonly progress: UploadOptions['progress']
  readonly onProgress: UploadOptions['onProgress']
  readonly object: ObjectOptions
}

/** Names of the options of one upload. The compiler requires each of them here. */
const UPLOAD_OPTIONS: Readonly<Record<keyof UploadOptions, true>> = {
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

/** @throws TypeError or RangeError that names the option, what it must be and what it is */
export function checkOptions(options: UploadOptions): UploadSettings {
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
    parallel = 5,
  } = options
  if (id !== undefined) checkId(id)
  checkInteger('partSize', options.partSize, MIN_PART_SIZE, MAX_PART_SIZE)
  checkInteger('parallel', parallel, 1, 1000)
  checkInteger('timeout', options.timeout, 1, 2 ** 31 - 1)
  checkInteger('maxAge', options.maxAge, 0, Number.MAX_SAFE_INTEGER)
  checkObject('expect', expect)
  checkProperties('expect', expect, EXPECTATIONS)
  checkInteger('expect.bytes', expect.bytes, 0, Number.MAX_SAFE_INTEGER)
  checkDigest('expect.md5', expect.md5, /^[0-9a-f]{32}$/i, '32 hexadecimal digits')
  checkDigest('expect.sha256', expect.sha256, /^[0-9a-f]{64}$/i, '64 hexadecimal digits')
  checkDigest('expect.crc64', expect.crc64, /^\d{1,20}$/, 'an unsigned decimal number')
  checkChoice('start', start, ['eager', 'sealed'])
  checkChoice('replay', replay, ['restart', 'offset'])
  if (inPlace !== undefined && typeof inPlace !== 'string') {
    throw invalidType('inPlace', 'a string', inPlace)
  }
  if (typeof once !== 'boolean') throw invalidType('once', 'a boolean', once)
  // Bytes that are read in place are not in the spool.
  const maxSpoolBytes = inPlace === undefined ? options.maxSpoolBytes : undefined
  checkMaxSpoolBytes(maxSpoolBytes, parallel, start)
  const maxPartSize =
    maxSpoolBytes === undefined ? MAX_PART_SIZE : maxPartSizeFor(maxSpoolBytes, parallel)
  if (checkpoint !== undefined) checkImportedCheckpoint(checkpoint, options.size, maxPartSize)
  const { partSize = 8 * MIB } = checkpoint ?? options
  const size = checkpoint?.fileSize ?? options.size
  checkInteger('size', size, 0, maxPartSize * MAX_PARTS)
  const { signal, progress, onProgress } = options
  if (signal !== undefined && !(signal instanceof AbortSignal)) {
    throw invalidType('signal', 'an AbortSignal', signal)
  }
  if (signal !== undefined) setMaxListeners(0, signal) // one may stop any number of uploads
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
    once,
    retry: checkRetry(options.retry),
    timeout: options.timeout,
    signal,
    progress,
    onProgress,
    object,
  }
}

/** The smallest part for each that is in flight, and one to fill. */
function checkMaxSpoolBytes(
  maxSpoolBytes: unknown,
  parallel: number,
  start: 'eager' | 'sealed',
): void {
  if (maxSpoolBytes === undefined) return
  const least = MIN_PART_SIZE * (parallel + 1)
  checkInteger('maxSpoolBytes', maxSpoolBytes, least, Number.MAX_SAFE_INTEGER)
  if (start === 'eager') return
  throw invalidValue('start', "must be 'eager' with maxSpoolBytes", start)
}

/** It comes from a file or a database, by a way of its owner's. */
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
    throw invalidType(`checkpoint.${name}`, 'a text', value)
  }
  const { partSize, fileSize } = checkpoint
  checkInteger('checkpoint.partSize', partSize ?? null, MIN_PART_SIZE, maxPartSize)
  checkInteger('checkpoint.fileSize', fileSize ?? null, 0, partSize * MAX_PARTS)
  if (size === undefined || size === fileSize) return
  throw invalidValue('size', `must be that of the checkpoint, ${fileSize}`, size)
}

/** @throws TypeError: what `ali-oss` has under that upload id belongs to another key */
export function checkImportedKey(key: string, checkpoint: AliOssCheckpoint | undefined): void {
  // It leaves slashes in front of a key away, but notes the key with them.
  if (checkpoint === undefined || checkpoint.name.replace(/^\/+/, '') === key) return
  throw invalidValue('checkpoint', `must be one of the key ${JSON.stringify(key)}`, checkpoint.name)
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
