/**
 * The spool directory's public face: makes sinks, finishes what was left, tells what there is. Each
 * method locks the one upload it works on and leaves it in a state that any process can take up.
 */
import { EventEmitter } from 'node:events'
import { resolve } from 'node:path'
import type { Checkpoint } from './disk/checkpoint.js'
import { Claim } from './disk/claim.js'
import { checkFileSystem, checkHolePunching } from './disk/fs-capabilities.js'
import { LocalRecordStore } from './disk/local-record-store.js'
import type { RecordStore } from './disk/record-store.js'
import { SpoolDirectory } from './disk/spool-directory.js'
import { unsafePermissionsWarning } from './disk/ownership.js'
import { checkObject, invalidType, SpoolError } from './errors.js'
import { connect } from './oss/connection.js'
import type { OssConnection, Place } from './oss/bucket.js'
import { TokenBucket } from './oss/rate-limiter.js'
import { withFairShare } from './oss/shared-bucket.js'
import { FairSemaphore, type FairShare } from './util/fair-semaphore.js'
import {
  checkSpoolOptions,
  type ResumeOptions,
  type SpoolOptions,
  type StepOptions,
} from './spool-options.js'
import { resumeUpload, retryableUpload } from './retryable-upload.js'
import { abortUpload } from './upload/abort.js'
import { startIngest } from './upload/begin.js'
import { UploadContext, type SpoolWarning } from './upload/context.js'
import { toSpoolError, publishedState } from './upload/error-mapping.js'
import { listUploads } from './upload/list.js'
import { checkId, checkKey, defaultDirectory, defaultId } from './upload/names.js'
import {
  checkImportedKey,
  checkOptions,
  type UploadOptions,
  type UploadSettings,
} from './upload/options.js'
import { prune, type Pruned, type PruneOptions, type PruneDeps } from './upload/prune.js'
import { ProgressTracker, type ProgressEvent } from './upload/progress.js'
import type { UploadResult } from './upload/result.js'
import { finishableSlot } from './upload/resume.js'
import type { Source } from './upload/source.js'
import type { UploadStatus } from './upload/status.js'
import { SpoolWriteStream } from './write-stream.js'

/** `upload()` and `resume()` at work at a time. */
const MAX_PARALLEL_UPLOADS = 64

/** Requests of all uploads at a time, or `parallel` if that is more: so many sockets. */
const MAX_PARALLEL_REQUESTS = 32

/**
 * A spool directory and the OSS that its uploads go to. Any number of processes may share one. Emits
 * `warning` (`SpoolWarning`): something failed and is tried again, or was set aside.
 */
export class Spool extends EventEmitter<{
  /** Something of an upload failed and is tried again, or was set aside. */
  warning: [SpoolWarning]
}> {
  /** Absolute path of the spool directory. */
  readonly dir: string
  readonly #connection: OssConnection
  readonly #defaults: UploadOptions
  readonly #records: RecordStore
  readonly #uploadSlots: FairSemaphore
  readonly #requestSlots: FairSemaphore
  #sweeping: Promise<void> | undefined
  #checkingFileSystem: Promise<void> | undefined
  #checkingHoles: Promise<void> | undefined

  /**
   * Nothing is read, made or sent before the first upload.
   * @throws TypeError or RangeError for options that make no sense
   */
  constructor(options: SpoolOptions)
  /** @internal Over a connection that is open already, as the command line has one. */
  constructor(options: Omit<SpoolOptions, 'client'> & { readonly client: OssConnection })
  constructor(
    options: Omit<SpoolOptions, 'client'> & {
      readonly client: SpoolOptions['client'] | OssConnection
    },
  ) {
    super()
    checkObject('options', options)
    checkObject('client', options.client)
    const { client, dir, checkpointStore, maxRate, fleetRate, ...rest } = options
    const { parallelUploads = MAX_PARALLEL_UPLOADS, ...defaults } = rest
    checkSpoolOptions(options)
    this.#connection = 'open' in client ? client : connect(client)
    const own = maxRate === undefined ? undefined : new TokenBucket(maxRate)
    this.#connection.setLimits([fleetRate, own].filter(limit => limit !== undefined))
    this.dir = resolve(dir ?? defaultDirectory())
    this.#defaults = defaults
    this.#records =
      checkpointStore?.recordStoreFor(new SpoolDirectory(this.dir)) ??
      new LocalRecordStore(this.dir)
    checkOptions(defaults)
    this.#uploadSlots = new FairSemaphore(parallelUploads)
    this.#requestSlots = new FairSemaphore(MAX_PARALLEL_REQUESTS)
  }

  /**
   * A sink for `pipeline()`: `finish` means that OSS holds the whole object. New bytes supersede an
   * unfinished upload of the same id; parts that OSS already has are not sent again.
   * @throws TypeError, RangeError, SpoolError `ERR_SPOOL_INVALID_KEY`, before any work
   */
  createWriteStream(key: string, options: UploadOptions = {}): SpoolWriteStream {
    const { place, id, settings } = this.#checkUpload(key, options)
    const stream: SpoolWriteStream = new SpoolWriteStream({
      id,
      bucket: place.bucket,
      key,
      directory: this.#records.directoryOf(id),
      signal: settings.signal,
      open: async signal => {
        const claim = await this.#acquire(id, settings)
        return withClaim(claim, () => {
          const context = this.#createContext(claim, place, key, settings, {
            progress: event => void stream.emit('progress', event),
            warning: warning => void stream.emit('warning', warning),
          })
          return startIngest(context, place, { ...settings, signal }, false)
        })
      },
    })
    return stream
  }

  /**
   * The step that can be retried: same id, same content. A sealed unfinished upload of that id is
   * finished and `source` is not called; otherwise it is called and read once.
   * @throws TypeError, RangeError or SpoolError, by rejecting; `resumable` says whether `resume` can finish it
   */
  async upload(key: string, source: Source, options: StepOptions = {}): Promise<UploadResult> {
    if (typeof source !== 'function') throw invalidType('source', 'a function', source)
    checkObject('options', options)
    const { onProgress, atOnce = false, ...upload } = options
    const { place, id, settings } = this.#checkUpload(key, upload)
    const turn = atOnce ? new FairSemaphore(1).share() : this.#uploadSlots.share()
    return this.#withUploadSlot(
      turn,
      id,
      { bucket: place.bucket, key },
      settings.signal,
      async () => {
        const claim = await this.#acquire(id, settings)
        return withClaim(claim, () => {
          const progress = (event: ProgressEvent): void => onProgress?.(event)
          const context = this.#createContext(claim, place, key, settings, { progress })
          return retryableUpload(context, place, source, settings)
        })
      },
    )
  }

  /**
   * The unfinished uploads of this client's endpoint, oldest first. Takes no lock and asks nothing of OSS.
   * @param options `all`: of every endpoint; `receipts`: also what is done and left a receipt
   */
  async uploads(options: { all?: boolean; receipts?: boolean } = {}): Promise<UploadStatus[]> {
    checkObject('options', options)
    await this.#sweep()
    const statuses = await listUploads(this.#records, warning => this.emit('warning', warning))
    return statuses.filter(
      ({ endpoint, phase }) =>
        (options.all === true || endpoint === this.#connection.endpoint) &&
        (options.receipts === true || phase !== 'receipt'),
    )
  }

  /**
   * Finishes a sealed upload without its source, at the place its checkpoint names.
   * @throws SpoolError `ERR_SPOOL_NOT_FOUND`, `ERR_SPOOL_UNSEALED`, and all that can end an upload
   */
  async resume(id: string, options: ResumeOptions = {}): Promise<UploadResult> {
    checkId(id)
    checkObject('options', options)
    const { force = false, onProgress, ...run } = options
    // There is no source to wait, so a bound says nothing, and must not forbid another `parallel`.
    const { maxSpoolBytes: _bound, ...defaults } = this.#defaults
    const settings = checkOptions({ ...defaults, ...run })
    return this.#withUploadSlot(
      this.#uploadSlots.share(),
      id,
      undefined,
      settings.signal,
      async () => {
        const claim = await this.#acquireExisting(id)
        return withClaim(claim, () => {
          const { checkpoint } = claim
          this.#checkEndpoint(checkpoint)
          const progress = (event: ProgressEvent): void => onProgress?.(event)
          const context = this.#createContext(
            claim,
            placeOf(checkpoint),
            checkpoint.key,
            settings,
            {
              progress,
            },
          )
          return resumeUpload(context, settings, force)
        })
      },
    )
  }

  /**
   * Gives an upload up: its upload ids on OSS first, then everything here.
   * @throws SpoolError `ERR_SPOOL_NOT_FOUND`, `ERR_SPOOL_LOCKED`, and what OSS refuses: then it is still there
   */
  async abort(id: string): Promise<void> {
    checkId(id)
    const claim = await this.#acquireExisting(id)
    await withClaim(claim, async () => {
      const { checkpoint } = claim
      this.#checkEndpoint(checkpoint)
      const settings = checkOptions(this.#defaults)
      const context = this.#createContext(claim, placeOf(checkpoint), checkpoint.key, settings, {})
      await abortUpload(context, this.#records)
    })
  }

  /** Removes the receipt of an upload with `once`; one that is unfinished stays. */
  async forget(id: string): Promise<void> {
    checkId(id)
    const claim = await this.#acquireExisting(id)
    const { upload, superseded, lost } = claim.checkpoint
    // What may still have to be aborted on OSS is known here alone: `prune` does that.
    const isOver = upload.phase === 'published' && superseded.length === 0 && lost.length === 0
    await withClaim(claim, () => (isOver ? claim.remove() : claim.release()))
  }

  /**
   * Removes what was idle for `olderThan` and is not owned: unsealed uploads (aborted on OSS),
   * receipts, the quarantine; sealed uploads and orphans only when asked.
   * @returns what was removed, or would be with `dryRun`
   */
  async prune(options: PruneOptions = {}): Promise<Pruned[]> {
    checkObject('options', options)
    await this.#sweep()
    const settings = checkOptions(this.#defaults)
    const pruner: PruneDeps = {
      records: this.#records,
      contextOf: (claim, checkpoint) =>
        this.#createContext(claim, placeOf(checkpoint), checkpoint.key, settings, {}),
      warn: (id, cause) => {
        const message = cause instanceof Error ? cause.message : String(cause)
        this.emit('warning', { id, message, cause })
      },
    }
    return prune(pruner, options)
  }

  /** One of `parallelUploads`. What fails before an upload has begun is told as what fails in it. */
  async #withUploadSlot<T>(
    turn: FairShare,
    id: string,
    object: { bucket: string; key: string } | undefined,
    signal: AbortSignal | undefined,
    step: () => Promise<T>,
  ): Promise<T> {
    try {
      return await turn.run(signal, step)
    } catch (error) {
      if (error instanceof SpoolError) throw error
      const checkpoint = await this.#records.read(id).catch(() => null)
      const { bucket, key } = object ?? checkpoint ?? {}
      if (bucket === undefined || key === undefined) throw error
      const slot = checkpoint === null ? undefined : finishableSlot(checkpoint)
      const record = slot && checkpoint?.[slot]
      const published = publishedState(record?.phase)
      const state = { sealed: slot !== undefined, published, freed: record?.freed }
      throw toSpoolError(error, { id, bucket, key, ...state })
    }
  }

  /** Once per spool, before its first bounded stream. */
  #checkHolePunching(): Promise<void> {
    this.#checkingHoles ??= checkHolePunching(this.dir).catch((error: unknown) => {
      this.#checkingHoles = undefined
      throw error
    })
    return this.#checkingHoles
  }

  #checkUpload(
    key: string,
    options: UploadOptions,
  ): { place: Place; id: string; settings: UploadSettings } {
    checkKey(key)
    checkObject('options', options)
    const settings = checkOptions({ ...this.#defaults, ...options })
    checkImportedKey(key, settings.checkpoint)
    const place = this.#connection.place()
    return { place, id: options.id ?? defaultId(place, key), settings }
  }

  async #acquire(id: string, { maxSpoolBytes }: UploadSettings): Promise<Claim> {
    await (this.#checkingFileSystem ??= this.#checkFileSystem(id).catch((error: unknown) => {
      this.#checkingFileSystem = undefined
      throw error
    }))
    if (maxSpoolBytes !== undefined) await this.#checkHolePunching()
    await this.#sweep()
    return Claim.acquire(this.#records, id)
  }

  /** An embedded OSS is reached by who has started it, and who has one reaches no other. */
  #checkEndpoint(checkpoint: Checkpoint): void {
    const { id, endpoint, upload } = checkpoint
    const here = this.#connection.endpoint
    if (endpoint === here || upload.phase === 'published') return
    const embedded = [endpoint, here].find(each => each.startsWith(EMBEDDED_PREFIX))
    if (embedded === undefined) return // the checkpoint's place is reached with this one's signature
    const hint =
      embedded === here
        ? 'Leave --local away.'
        : `Add --local=${endpoint.slice(EMBEDDED_PREFIX.length)} to the command.`
    throw new SpoolError('ERR_SPOOL_UPLOAD_FAILED', `Upload ${id} belongs to ${endpoint}`, {
      id,
      resumable: finishableSlot(checkpoint) !== undefined,
      hint,
    })
  }

  async #acquireExisting(id: string): Promise<Claim & { checkpoint: Checkpoint }> {
    await this.#sweep()
    return Claim.acquireExisting(this.#records, id)
  }

  /** Once per spool, before its first upload: that locks exclude, and who else may write there. */
  async #checkFileSystem(id: string): Promise<void> {
    for (const message of [await checkFileSystem(this.dir), unsafePermissionsWarning(this.dir)]) {
      if (message !== undefined) this.emit('warning', { id, message })
    }
  }

  /** Once per spool: what killed removals left behind. */
  #sweep(): Promise<void> {
    this.#sweeping ??= this.#records.sweep().catch((error: unknown) => {
      this.#sweeping = undefined
      throw error
    })
    return this.#sweeping
  }

  #createContext(
    claim: Claim,
    place: Place,
    key: string,
    settings: UploadSettings,
    listeners: {
      progress?: (event: ProgressEvent) => void
      warning?: (warning: SpoolWarning) => void
    },
  ): UploadContext {
    const progress = new ProgressTracker(event =>
      // Later, so that a listener that throws is its owner's uncaught exception, not our failed part.
      process.nextTick(() => listeners.progress?.(event)),
    )
    return new UploadContext(
      claim,
      withFairShare(this.#connection.open(place), this.#requestSlots.share(settings.parallel)),
      key,
      settings,
      progress,
      warning => {
        listeners.warning?.(warning)
        this.emit('warning', warning)
      },
    )
  }
}

/** Begins what is recorded for an OSS inside a process, in place of a URL; its directory follows. */
const EMBEDDED_PREFIX = 'local:'

/** Runs `step` with a claim; if it fails while the claim is still held, the claim is let go. */
async function withClaim<T>(claim: Claim, step: () => Promise<T>): Promise<T> {
  try {
    return await step()
  } catch (error) {
    await claim.releaseOrRemove()
    throw error
  }
}

function placeOf({ endpoint, region, bucket, cname, pathStyle }: Checkpoint): Place {
  return { endpoint, region, bucket, cname, pathStyle }
}
