/** Options of `Spool` and its methods, besides those of each upload. */
import type { CheckpointStore } from './disk/record-store.js'
import { checkInteger, invalidType } from './errors.js'
import type { RateLimit } from './oss/bucket.js'
import type { AliOssClient, ClientOptions } from './oss/client-options.js'
import { checkRate, TokenBucket } from './oss/rate-limiter.js'
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

/** Options of `resume`: how to send, not what. */
export interface ResumeOptions extends Pick<
  UploadOptions,
  'parallel' | 'retry' | 'timeout' | 'signal' | 'progress' | 'onProgress'
> {
  /** Publishes even over an object that someone else wrote meanwhile. @default false */
  readonly force?: boolean
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
}

/** Options of `abort`. */
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
