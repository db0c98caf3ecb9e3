/** What a `Spool` and its methods can be told, beside the options of each upload. */
import type { CheckpointStore } from './disk/record-store.js'
import { checkInteger, invalidType } from './errors.js'
import type { RateLimit } from './oss/bucket.js'
import { checkRate } from './oss/rate-limiter.js'
import type { AliOssClient, ClientOptions } from './oss/client-options.js'
import type { UploadOptions } from './upload/options.js'
import type { ProgressEvent } from './upload/progress.js'

/** Options of a `Spool`. Those of an upload are defaults for all its uploads. */
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
   * `upload()` and `resume()` at work at a time; the others wait, with nothing open and their sources not
   * called. Sinks do not wait: each holds two descriptors as long as it is open. @default 64
   */
  readonly parallelUploads?: number
  /** Bytes per second that all uploads of this spool send together: 1024 or more. Default: no limit. */
  readonly maxRate?: number
  /**
   * A limit that is shared with other processes: `fleetRate(connection, bytesPerSecond)` of
   * `oss-spool/redis`. It comes before `maxRate`. Default: no limit.
   */
  readonly fleetRate?: RateLimit
}

/** Options of `upload`. */
export interface StepOptions extends UploadOptions {
  /** Told of progress: ten times a second at most, the last event is never lost. */
  readonly onProgress?: (progress: ProgressEvent) => void
  /**
   * Begins now, whatever `parallelUploads` says: for a source that cannot end before other uploads have
   * begun. @default false
   */
  readonly atOnce?: boolean
}

/** Options of `resume`: how, not what. */
export interface ResumeOptions extends Pick<
  UploadOptions,
  'parallel' | 'retry' | 'timeout' | 'signal' | 'progress'
> {
  /** Publish even over an object that someone else wrote meanwhile. */
  readonly force?: boolean
  /** Told of progress: ten times a second at most, the last event is never lost. */
  readonly onProgress?: (progress: ProgressEvent) => void
}

/** @throws TypeError or RangeError for what is not checked with the options of each upload */
export function checkSpoolOptions({
  checkpointStore,
  fleetRate,
  maxRate,
  parallelUploads,
}: Omit<SpoolOptions, 'client'>): void {
  if (checkpointStore !== undefined && typeof checkpointStore?.recordStoreFor !== 'function') {
    throw invalidType('checkpointStore', 'a checkpoint store', checkpointStore)
  }
  if (fleetRate !== undefined && typeof fleetRate?.take !== 'function') {
    throw invalidType('fleetRate', 'made by fleetRate()', fleetRate)
  }
  checkInteger('parallelUploads', parallelUploads, 1, 100_000)
  if (maxRate !== undefined) checkRate('maxRate', maxRate)
}
