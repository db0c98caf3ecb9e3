/** Options of `Spool` and its methods, besides those of each upload. */
import type { CheckpointStore } from './disk/record-store.js'
import {
  checkBooleans,
  checkInteger,
  checkObject,
  checkProperties,
  invalidType,
  invalidValue,
} from './errors.js'
import type { RateLimit } from './oss/bucket.js'
import { checkBucketName, type AliOssClient, type ClientOptions } from './oss/client-options.js'
import { checkRate, TokenBucket } from './oss/rate-limiter.js'
import { checkKey } from './upload/model/names.js'
import type { UploadOptions } from './upload/model/options.js'

/** Options of a `Spool`. Upload options are defaults for all its uploads. */
export interface SpoolOptions extends Omit<UploadOptions, 'id' | 'checkpoint'> {
  /** An `ali-oss` client, or the options to make one (then HTTPS and V4 signatures by default). */
  readonly client: AliOssClient | ClientOptions
  /** The spool directory. Default: `$OSS_SPOOL_DIR`, else `oss-spool` in the XDG state directory. */
  readonly dir?: string
  /**
   * Where records and locks of uploads are kept instead of `dir`, so that several machines share them:
   * `redisCheckpoints(connection)` of `oss-spool/redis`. Default: in `dir`, beside the bytes.
   */
  readonly checkpointStore?: CheckpointStore
  /**
   * Maximum number of `upload()` and `resume()` calls that run concurrently. Further calls wait; they open no files
   * and do not call their sources. Sinks do not wait: each holds two descriptors while it is open. @default 64
   */
  readonly parallelUploads?: number
  /**
   * Limit of the bytes per second that all uploads of this spool send together: 1,024 or more. Or a limit
   * shared with other processes, `fleetRate(connection, bytesPerSecond)` of `oss-spool/redis`; or both.
   * Default: no limit.
   */
  readonly maxRate?: number | RateLimit | readonly [RateLimit, number]
}

/** Options of `spool.resume()`: how to send, not what. */
export interface ResumeOptions extends Pick<
  UploadOptions,
  'parallel' | 'retry' | 'timeout' | 'signal' | 'progress' | 'onProgress'
> {
  /** Publishes even over an object that someone else wrote meanwhile. @default false */
  readonly force?: boolean
  /**
   * Moves the upload to another place first, durably: later calls of `resume` go on there. All its bytes must be
   * on this disk. Old places are settled after the object is published: its upload ids are aborted there.
   */
  readonly to?: MoveTarget
}

/** Where `spool.resume()` moves an upload: its option `to`. What is not given stays as it was. */
export interface MoveTarget {
  /** Another bucket. */
  readonly bucket?: string
  /** Another key. */
  readonly key?: string
  /** Another region such as `oss-cn-hangzhou` or `cn-hangzhou`, whose endpoint of OSS is then used. */
  readonly region?: string
  /** Host name or URL of another endpoint, for which the client must be configured unless it is one of OSS. */
  readonly endpoint?: string
  /** The endpoint is the bucket's own domain name. */
  readonly cname?: boolean
}

/** Names of the options of `resume`. */
export const RESUME_OPTIONS: Readonly<Record<keyof ResumeOptions, true>> = {
  parallel: true,
  retry: true,
  timeout: true,
  signal: true,
  progress: true,
  onProgress: true,
  force: true,
  to: true,
}

const MOVE_TARGET: Readonly<Record<keyof MoveTarget, true>> = {
  bucket: true,
  key: true,
  region: true,
  endpoint: true,
  cname: true,
}

/** @throws TypeError or SpoolError `ERR_SPOOL_INVALID_KEY` for an invalid `to` of `resume` */
export function checkMoveTarget(to: MoveTarget): void {
  checkObject('to', to)
  checkProperties('to', to, MOVE_TARGET)
  const { bucket, key, region, endpoint, cname } = to
  if (Object.values(to).every(value => value === undefined)) {
    throw invalidValue('to', 'must name a bucket, a key, a region or an endpoint', undefined)
  }
  if (bucket !== undefined) checkBucketName('to.bucket', bucket)
  if (key !== undefined) checkKey(key)
  for (const [name, value] of Object.entries({ region, endpoint })) {
    if (value === undefined) continue
    if (typeof value !== 'string' || value === '')
      throw invalidType(`to.${name}`, 'a non-empty string', value)
  }
  checkBooleans({ 'to.cname': cname })
}

/** Options of `spool.abort()`. */
export interface AbortOptions {
  /**
   * Also aborts the upload on OSS, and keeps it if OSS refuses. `false` gives up on this disk only, also if OSS
   * refuses: parts that OSS has stay there until a lifecycle rule of the bucket removes them. @default true
   */
  readonly remote?: boolean
}

/** Names of the options of `abort`. */
export const ABORT_OPTIONS: Readonly<Record<keyof AbortOptions, true>> = { remote: true }

/** @throws TypeError or RangeError for an invalid option of the spool itself; upload options are checked separately */
export function checkSpoolOptions(options: Omit<SpoolOptions, 'client'>): void {
  const { dir, checkpointStore, maxRate, parallelUploads } = options
  if (dir !== undefined && typeof dir !== 'string') throw invalidType('dir', 'a string', dir)
  if (dir === '') throw invalidValue('dir', 'must not be empty', dir)
  if (checkpointStore !== undefined && checkpointStore?.kind !== 'checkpoint-store') {
    throw invalidType('checkpointStore', 'a checkpoint store', checkpointStore)
  }
  checkInteger('parallelUploads', parallelUploads, 1, 100_000)
  for (const limit of limitsIn(maxRate)) {
    if (typeof limit === 'number') checkRate('maxRate', limit)
    else if (typeof limit?.take !== 'function') {
      throw invalidType('maxRate', 'a number, or made by fleetRate()', limit)
    }
  }
}

/** The limits that `maxRate` stands for. */
export function rateLimitsOf(maxRate: SpoolOptions['maxRate']): RateLimit[] {
  return limitsIn(maxRate).map(limit =>
    typeof limit === 'number' ? new TokenBucket(limit) : limit,
  )
}

function limitsIn(maxRate: SpoolOptions['maxRate']): readonly (number | RateLimit)[] {
  if (maxRate === undefined) return []
  return Array.isArray(maxRate) ? maxRate : [maxRate as number | RateLimit] // narrowed above
}
