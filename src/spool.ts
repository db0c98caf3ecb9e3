/**
 * The public class `Spool`: creates sinks, finishes the uploads of earlier runs and lists uploads. Each method
 * locks the one upload it works on and leaves it in a state from which any process can continue.
 */
import { EventEmitter } from 'node:events'
import { resolve } from 'node:path'
import { resumableSlot, type Checkpoint } from './disk/checkpoint.js'
import { announceRelease, Claim } from './disk/claim.js'
import { checkFileSystem, checkHolePunching } from './disk/fs-capabilities.js'
import { LocalRecordStore } from './disk/local-record-store.js'
import { unsafePermissionsWarning } from './disk/trusted-files.js'
import type { RecordStore } from './disk/record-store.js'
import { SharedSpoolDirectory } from './disk/shared-spool-directory.js'
import { renamedUploadWarning } from './disk/spool-directory.js'
import { checkBooleans, checkObject, checkProperties, invalidType, SpoolError } from './errors.js'
import type { HintWording, RecordedPlace } from './hint.js'
import type { OssConnection, Place } from './oss/bucket.js'
import { connect } from './oss/connection.js'
import { resumeUpload, retryableUpload, type EarlierUpload } from './retryable-upload.js'
import {
  ABORT_OPTIONS,
  checkMoveTarget,
  checkSpoolOptions,
  rateLimitsOf,
  RESUME_OPTIONS,
  type AbortOptions,
  type MoveTarget,
  type ResumeOptions,
  type SpoolOptions,
} from './spool-options.js'
import { abortUpload } from './upload/maintenance/abort.js'
import { UploadContext, type RunSettings, type SpoolWarning } from './upload/run/context.js'
import { relocate } from './upload/finish/relocate.js'
import {
  endpointError,
  errorContext,
  toDiskError,
  toSpoolError,
} from './upload/run/error-mapping.js'
import { listUploads } from './upload/maintenance/list.js'
import { checkId, checkKey, defaultDirectory, defaultId } from './upload/model/names.js'
import {
  checkImportedKey,
  checkOptions,
  type UploadOptions,
  type UploadSettings,
} from './upload/model/options.js'
import { ProgressTracker } from './upload/run/progress.js'
import { minParallel } from './upload/model/parallel.js'
import type { ProgressEvent } from './upload/model/progress-event.js'
import {
  prune,
  PRUNE_OPTIONS,
  type PruneDeps,
  type Pruned,
  type PruneOptions,
} from './upload/maintenance/prune.js'
import { pruneSelected, type PruneSelection } from './upload/maintenance/prune-selected.js'
import type { UploadResult } from './upload/run/result.js'
import type { Source } from './upload/model/source.js'
import { startIngest } from './upload/spooling/start-ingest.js'
import type { UploadStatus } from './upload/maintenance/status.js'
import { FairSemaphore } from './util/fair-semaphore.js'
import { SpoolWriteStream } from './write-stream.js'
import { errorMessage } from './util/error-shape.js'

/** Default of `parallelUploads`. */
const MAX_PARALLEL_UPLOADS = 64

/** Concurrent requests of all uploads, or `parallel` if that is more; each needs a socket. */
const MAX_PARALLEL_REQUESTS = 32

/** Which upload a call works on; bucket and key where the caller gave them. */
interface Target {
  readonly id: string
  readonly bucket?: string
  readonly key?: string
}

/** Listeners of one sink. */
interface Listeners {
  /** Whether anything listens to `progress`. */
  readonly hasProgress?: () => boolean
  readonly progress?: (event: ProgressEvent) => void
  readonly warning?: (warning: SpoolWarning) => void
}

/**
 * A spool directory and the OSS bucket its uploads go to. Any number of processes may share a directory. Emits
 * `warning` (`SpoolWarning`) for problems that fail no upload: a step is retried, an upload was quarantined, or the
 * spool directory or the connection is not safe.
 */
export class Spool extends EventEmitter<{
  /** A problem that fails no upload, such as a step that is retried. */
  warning: [SpoolWarning]
}> {
  /** Absolute path of the spool directory. */
  readonly dir: string
  readonly #connection: OssConnection
  /** @internal Defaults of all uploads. */
  readonly defaults: UploadOptions
  readonly #records: RecordStore
  readonly #uploadSlots: FairSemaphore
  readonly #requestSlots: FairSemaphore
  #sweeping: Promise<void> | undefined
  #checkingFileSystem: Promise<void> | undefined
  #hasCheckedTls = false
  #checkingHoles: Promise<void> | undefined

  /**
   * Does no I/O until the first upload.
   * @throws TypeError or RangeError for an unknown option or an invalid value
   */
  constructor(options: SpoolOptions)
  /** @internal Uses a connection that is open already, such as the command line's. */
  constructor(options: Omit<SpoolOptions, 'client'> & { readonly client: OssConnection })
  constructor(
    options: Omit<SpoolOptions, 'client'> & {
      readonly client: SpoolOptions['client'] | OssConnection
    },
  ) {
    super()
    checkObject('options', options)
    checkObject('client', options.client)
    checkSpoolOptions(options)
    const { client, dir, checkpointStore, maxRate, parallelUploads, ...defaults } = options
    checkOptions(defaults)
    this.#connection = 'open' in client ? client : connect(client)
    this.#connection.setLimits(rateLimitsOf(maxRate))
    this.dir = resolve(dir ?? defaultDirectory())
    this.defaults = defaults
    this.#records =
      checkpointStore?.recordStoreFor(new SharedSpoolDirectory(this.dir)) ??
      new LocalRecordStore(this.dir)
    this.#uploadSlots = new FairSemaphore(parallelUploads ?? MAX_PARALLEL_UPLOADS)
    this.#requestSlots = new FairSemaphore(MAX_PARALLEL_REQUESTS)
  }

  /**
   * Returns a sink for `pipeline()`. `finish` means that OSS holds the whole object. New bytes supersede an
   * unfinished upload of the same id; parts that OSS already has are not sent again.
   * @throws TypeError, RangeError, SpoolError `ERR_SPOOL_INVALID_KEY`, before any work
   */
  createWriteStream(key: string, options: UploadOptions = {}): SpoolWriteStream {
    const { place, id, settings } = this.#checkUpload(key, options)
    const warn = (warning: SpoolWarning): void => {
      stream.emit('warning', warning)
      this.emit('warning', warning)
    }
    const stream: SpoolWriteStream = new SpoolWriteStream({
      id,
      bucket: place.bucket,
      key,
      directory: this.#records.directoryOf(id),
      signal: settings.signal,
      uncommittable: uncommittableReason(settings),
      open: signal =>
        this.#withClaim(this.#acquire(id, settings, warn), claim => {
          // Only from here on it has the claim: before, an announcement would make it wait for itself.
          signal.addEventListener('abort', () => announceRelease(claim.directory, closed))
          const context = this.#createContext(claim, place, key, settings, {
            hasProgress: () => stream.listenerCount('progress') > 0,
            progress: event => void stream.emit('progress', event),
            warning: warning => void stream.emit('warning', warning),
          })
          return startIngest(context, place, { ...settings, signal }, { resumeAtOffset: false })
        }),
    })
    const closed = new Promise<void>(onClose => stream.once('close', onClose))
    return stream
  }

  /**
   * Uploads the bytes that `source` returns. Safe to retry: the same id must mean the same content. If an earlier
   * call sealed this upload, it is finished without calling `source`. Otherwise `source` is called once and read
   * to its end.
   * @throws TypeError, RangeError or SpoolError, by rejecting; `resumable` says whether `resume` can finish it
   */
  async upload(key: string, source: Source, options: UploadOptions = {}): Promise<UploadResult> {
    return this.#upload(this.#uploadSlots, key, source, options)
  }

  /**
   * @internal As `upload`, but does not wait for one of `parallelUploads`: for a source that cannot end before
   * other uploads have started.
   * @param compare – called before the bytes of an earlier run are finished or its receipt is returned; a rejection
   * leaves them unchanged
   */
  async uploadNow(
    key: string,
    source: Source,
    options: UploadOptions & { readonly id: string; readonly signal: AbortSignal },
    compare: (earlier: EarlierUpload) => Promise<void>,
  ): Promise<UploadResult> {
    const { signal, id } = options
    const announce = (): void => announceRelease(this.#records.directoryOf(id), ended)
    const uploading = this.#upload(new FairSemaphore(1), key, source, options, earlier => {
      // Only from here on it has the claim: before, an announcement would make it wait for itself.
      if (!earlier.isPublished) signal.addEventListener('abort', announce, { once: true })
      return compare(earlier)
    })
    const ended = Promise.allSettled([uploading]).then(() =>
      signal.removeEventListener('abort', announce),
    )
    return uploading
  }

  async #upload(
    slots: FairSemaphore,
    key: string,
    source: Source,
    options: UploadOptions,
    compare?: (earlier: EarlierUpload) => Promise<void>,
  ): Promise<UploadResult> {
    if (typeof source !== 'function') throw invalidType('source', 'a function', source)
    const { place, id, settings } = this.#checkUpload(key, options)
    const target = { id, bucket: place.bucket, key }
    const warn = (warning: SpoolWarning): void => void this.emit('warning', warning)
    return this.#withErrorCodes(target, () =>
      slots.share().run(settings.signal, () =>
        this.#withClaim(this.#acquire(id, settings, warn), claim => {
          const context = this.#createContext(claim, place, key, settings)
          return retryableUpload(context, place, source, settings, compare)
        }),
      ),
    )
  }

  /** @internal Lists the unfinished uploads with files on this host. Reads no record of the others. */
  async localUploads(): Promise<UploadStatus[]> {
    const warn = (warning: SpoolWarning): void => void this.emit('warning', warning)
    const statuses = await listUploads(this.#records, warn, await this.#records.idsOnHost())
    return statuses.filter(({ phase }) => phase !== 'receipt')
  }

  /**
   * Lists the unfinished uploads of this client's endpoint, oldest first. Takes no lock and sends no request.
   * @param options – `all`: of every endpoint; `receipts`: also the receipts of finished uploads
   */
  async uploads(options: { all?: boolean; receipts?: boolean } = {}): Promise<UploadStatus[]> {
    checkObject('options', options)
    checkProperties('options', options, { all: true, receipts: true })
    checkBooleans(options)
    const statuses = await withDiskErrors(async () => {
      await this.#sweep()
      return listUploads(this.#records, warning => this.emit('warning', warning))
    })
    return statuses.filter(
      ({ endpoint, bucket, phase }) =>
        (options.all === true || this.#connection.isConfiguredFor(endpoint, bucket)) &&
        (options.receipts === true || phase !== 'receipt'),
    )
  }

  /**
   * @internal Reads the uploads whose ids `select` accepts, of every endpoint, receipts included. Reads no directory
   * of the others.
   * @returns also why some of them cannot be read, which is emitted as `warning`, too
   */
  async findUploads(
    select: (id: string) => boolean,
  ): Promise<{ uploads: UploadStatus[]; unreadable: SpoolError[] }> {
    const unreadable: SpoolError[] = []
    const warn = (warning: SpoolWarning): void => {
      if (warning.cause instanceof SpoolError) unreadable.push(warning.cause)
      this.emit('warning', warning)
    }
    const uploads = await withDiskErrors(async () => {
      await this.#sweep()
      return listUploads(this.#records, warn, await this.#records.ids(select))
    })
    return { uploads, unreadable }
  }

  /**
   * Finishes a sealed or committed upload without its source, at the place its checkpoint names, or at another one
   * (`to`). A committed upload is published up to its last commit.
   * @throws SpoolError `ERR_SPOOL_NOT_FOUND`, `ERR_SPOOL_UNSEALED`, and every error that can end an upload
   */
  async resume(id: string, options: ResumeOptions = {}): Promise<UploadResult> {
    checkId(id)
    checkObject('options', options)
    checkProperties('options', options, RESUME_OPTIONS)
    const { force = false, to, ...run } = options
    checkBooleans({ force })
    if (to !== undefined) checkMoveTarget(to)
    // No source has to wait, so `maxSpoolBytes` has no effect and must not restrict `parallel`.
    const { maxSpoolBytes: _bound, ...defaults } = this.defaults
    const settings = { ...checkOptions({ ...defaults, ...run }), force }
    return this.#withErrorCodes({ id }, () =>
      this.#uploadSlots.share().run(settings.signal, () =>
        this.#withClaim(this.#acquireExisting(id), async claim => {
          // A process that died while it moved the upload may have left a note.
          await this.#records.forgetMoves(id, claim.checkpoint)
          if (to !== undefined) await this.#move(claim, to)
          const { checkpoint } = claim
          this.#checkEndpoint(checkpoint, (say, at) => say.resume(id, { at }))
          const context = this.#createContext(claim, placeOf(checkpoint), checkpoint.key, settings)
          return resumeUpload(context, settings)
        }),
      ),
    )
  }

  /** Moves an upload. @throws SpoolError `ERR_SPOOL_ENDPOINT` if this client is not for the new place */
  async #move(
    claim: Claim & { checkpoint: Checkpoint },
    { key = claim.checkpoint.key, ...change }: MoveTarget,
  ): Promise<void> {
    const { checkpoint } = claim
    const place = this.#connection.changePlace(placeOf(checkpoint), change)
    if (!this.#connection.mayReach(place)) {
      const what = `Upload ${claim.id} is to be published at ${place.endpoint}`
      throw endpointError(checkpoint, place.endpoint, what)
    }
    await relocate(claim, { ...place, key })
  }

  /**
   * Aborts an upload: first its upload ids on OSS, then everything on this disk. With `remote: false`, on this disk
   * only, without a request.
   * @throws SpoolError `ERR_SPOOL_NOT_FOUND`, `ERR_SPOOL_LOCKED`, or another one if OSS refuses: the upload is kept
   */
  async abort(id: string, options: AbortOptions = {}): Promise<void> {
    return this.#abort(id, options, () => this.#acquireExisting(id))
  }

  /**
   * @internal As `abort`, for a person: also if the bytes are on another host that is alive. That host quarantines them
   * when it finds them without a record.
   */
  async abortFromAnyHost(id: string, options: AbortOptions = {}): Promise<void> {
    return this.#abort(id, options, async () => {
      await this.#sweep(id)
      return Claim.acquireForAbort(this.#records, id)
    })
  }

  async #abort(
    id: string,
    options: AbortOptions,
    acquire: () => Promise<Claim & { checkpoint: Checkpoint }>,
  ): Promise<void> {
    checkId(id)
    checkObject('options', options)
    checkProperties('options', options, ABORT_OPTIONS)
    const { remote = true } = options
    checkBooleans({ remote })
    await this.#withErrorCodes({ id }, () =>
      this.#withClaim(acquire(), claim => {
        if (!remote) return this.#remove(claim)
        const { checkpoint } = claim
        this.#checkEndpoint(checkpoint, (say, at) => say.abort(id, { at }))
        const settings = checkOptions(this.defaults)
        const context = this.#createContext(claim, placeOf(checkpoint), checkpoint.key, settings)
        return abortUpload(context, this.#records)
      }),
    )
  }

  /** Removes the receipt of an upload with `once`; an unfinished upload stays. */
  async forget(id: string): Promise<void> {
    checkId(id)
    await this.#withErrorCodes({ id }, () =>
      this.#withClaim(this.#acquireExisting(id), async claim => {
        const { upload, superseded, lost, movedFrom = [] } = claim.checkpoint
        // Only this record lists the upload ids that may still have to be aborted on OSS: `prune` does that.
        const isSettled = superseded.length + lost.length + movedFrom.length === 0
        if (upload.phase !== 'published' || !isSettled) return claim.release()
        await this.#remove(claim)
      }),
    )
  }

  /** Removes an upload from this disk. Files that stay are left to the next sweep. */
  async #remove(claim: Claim): Promise<void> {
    const { id } = claim
    const cause = await claim.remove()
    if (cause === undefined) return
    // On the next tick, so that an exception of a listener does not fail the call.
    process.nextTick(() => {
      this.emit('warning', { id, message: `Cleaning up failed: ${errorMessage(cause)}`, cause })
    })
  }

  /**
   * Removes what was idle for `olderThan` and has no owner: unsealed uploads (aborted on OSS), receipts and
   * quarantined files; sealed and committed uploads and orphans only on request.
   * @returns what was removed, or would be with `dryRun`; entries with an `error` could not be removed
   */
  async prune(options: PruneOptions = {}): Promise<Pruned[]> {
    checkObject('options', options)
    checkProperties('options', options, PRUNE_OPTIONS)
    return this.#prune(deps => prune(deps, options))
  }

  /**
   * @internal Removes the uploads without an owner that `select` accepts, of any phase and age. Their bytes may be on
   * another host that is alive, which quarantines them when it finds them without a record.
   */
  async pruneSelected(selection: PruneSelection): Promise<Pruned[]> {
    return this.#prune(deps => pruneSelected(deps, selection))
  }

  async #prune(run: (deps: PruneDeps) => Promise<Pruned[]>): Promise<Pruned[]> {
    const settings = checkOptions(this.defaults)
    return withDiskErrors(async () => {
      await this.#sweep()
      return run({
        records: this.#records,
        contextOf: (claim, checkpoint) => {
          this.#checkEndpoint(checkpoint, (say, at) => say.abort(checkpoint.id, { at }))
          return this.#createContext(claim, placeOf(checkpoint), checkpoint.key, settings)
        },
        warn: (id, cause) => {
          this.emit('warning', { id, message: errorMessage(cause), cause })
        },
      })
    })
  }

  /** Runs `step` with the claim of an upload. A failure releases the claim if it is still held. */
  async #withClaim<C extends Claim, T>(
    acquiring: Promise<C>,
    step: (claim: C) => Promise<T>,
  ): Promise<T> {
    let claim: C | undefined
    try {
      claim = await acquiring
      return await step(claim)
    } catch (error) {
      await claim?.releaseOrRemove()
      throw error
    }
  }

  /** Runs `step`. The one place where a failure of a method gets its `ERR_SPOOL_*` code; a sink has its own. */
  async #withErrorCodes<T>({ id, ...object }: Target, step: () => Promise<T>): Promise<T> {
    try {
      return await step()
    } catch (error) {
      if (error instanceof SpoolError) throw error
      const checkpoint = await this.#records.read(id).catch(() => null)
      const { bucket, key } = { ...checkpoint, ...object }
      if (bucket === undefined || key === undefined) throw toDiskError(error)
      const slot = checkpoint === null ? undefined : resumableSlot(checkpoint)
      throw toSpoolError(error, errorContext({ id, bucket, key }, checkpoint, slot))
    }
  }

  #checkUpload(
    key: string,
    options: UploadOptions,
  ): { place: Place; id: string; settings: UploadSettings } {
    checkKey(key)
    checkObject('options', options)
    const settings = checkOptions({ ...this.defaults, ...options })
    checkImportedKey(key, settings.checkpoint)
    const place = this.#connection.place()
    return { place, id: options.id ?? defaultId(place, key), settings }
  }

  async #acquire(
    id: string,
    { maxSpoolBytes }: UploadSettings,
    warn: (warning: SpoolWarning) => void,
  ): Promise<Claim> {
    await (this.#checkingFileSystem ??= this.#checkFileSystem(id).catch((error: unknown) => {
      this.#checkingFileSystem = undefined
      throw error
    }))
    if (maxSpoolBytes !== undefined) await this.#checkHolePunching()
    await this.#sweep(id)
    try {
      return await Claim.acquire(this.#records, id)
    } catch (error) {
      // A damaged record does not stop a new stream (rule 10).
      if (!(error instanceof SpoolError) || error.code !== 'ERR_SPOOL_CORRUPT') throw error
      // On the next tick, so that an exception of a listener does not fail the upload.
      process.nextTick(warn, { id, message: error.message, cause: error })
      return Claim.acquire(this.#records, id)
    }
  }

  async #acquireExisting(id: string): Promise<Claim & { checkpoint: Checkpoint }> {
    await this.#sweep(id)
    return Claim.acquireExisting(this.#records, id)
  }

  /**
   * Rejects an unfinished upload that is recorded for a place to which the credentials may not be sent (rule 11). What
   * a published one left there is reported by its clean-up.
   * @param again – words the same step where it works
   */
  #checkEndpoint(
    checkpoint: Checkpoint,
    again: (say: HintWording, at: RecordedPlace) => string,
  ): void {
    const { id, endpoint, upload } = checkpoint
    if (upload.phase === 'published' || this.#connection.mayReach(checkpoint)) return
    throw new SpoolError(
      'ERR_SPOOL_ENDPOINT',
      `Upload ${id} belongs to ${endpoint}, for which this client is not configured`,
      {
        id,
        resumable: resumableSlot(checkpoint) !== undefined,
        hint: say => `Nothing was changed. To reach it, ${again(say, checkpoint)}.`,
      },
    )
  }

  /** Once per spool, before its first request: warns if the server is not verified. */
  #warnOfTls(id: string): void {
    if (this.#hasCheckedTls) return
    this.#hasCheckedTls = true
    const message = this.#connection.tlsWarning()
    // On the next tick, so that an exception of a listener does not fail the upload.
    if (message !== undefined) process.nextTick(() => this.emit('warning', { id, message }))
  }

  /** Once per spool, before its first upload: checks that locks work. */
  async #checkFileSystem(id: string): Promise<void> {
    const message = await checkFileSystem(this.dir)
    if (message !== undefined) this.emit('warning', { id, message })
  }

  /** Once per spool, before its first bounded stream. */
  #checkHolePunching(): Promise<void> {
    this.#checkingHoles ??= checkHolePunching(this.dir).catch((error: unknown) => {
      this.#checkingHoles = undefined
      throw error
    })
    return this.#checkingHoles
  }

  /**
   * Once per spool: warns if others can write to it, removes the leftovers of interrupted removals, and warns of
   * uploads that only have the name of one.
   */
  #sweep(id = ''): Promise<void> {
    this.#sweeping ??= this.#sweepAndWarn(id).catch((error: unknown) => {
      this.#sweeping = undefined
      throw error
    })
    return this.#sweeping
  }

  async #sweepAndWarn(id: string): Promise<void> {
    const unsafe = unsafePermissionsWarning(this.dir)
    if (unsafe !== undefined) this.emit('warning', { id, message: unsafe })
    for (const renamed of await this.#records.sweep()) {
      this.emit('warning', { id: renamed.id, message: renamedUploadWarning(renamed) })
    }
  }

  #createContext(
    claim: Claim,
    place: Place,
    key: string,
    settings: UploadSettings & Pick<RunSettings, 'force'>,
    listeners: Listeners = {},
  ): UploadContext {
    this.#warnOfTls(claim.id)
    const { onProgress, parallel } = settings
    // On the next tick, so that an exception of a listener does not fail a part.
    const progress = new ProgressTracker({
      isActive: () => onProgress !== undefined || listeners.hasProgress?.() === true,
      emit: event =>
        process.nextTick(() => {
          listeners.progress?.(event)
          onProgress?.(event)
        }),
    })
    return new UploadContext({
      claim,
      bucket: this.#connection.open(place),
      bucketAt: other =>
        this.#connection.mayReach(other) ? this.#connection.open(other) : undefined,
      share: this.#requestSlots.share(minParallel(parallel)),
      key,
      settings,
      progress,
      warn: warning => {
        listeners.warning?.(warning)
        this.emit('warning', warning)
      },
    })
  }
}

/** Runs `step`, which concerns no single upload. */
async function withDiskErrors<T>(step: () => Promise<T>): Promise<T> {
  try {
    return await step()
  } catch (error) {
    throw toDiskError(error)
  }
}

/** Returns the option that speaks of the whole stream, so that a prefix of it must not be published. */
function uncommittableReason(settings: UploadSettings): string | undefined {
  const { size, expect, once, replay, inPlace, compression } = settings
  if (size !== undefined) return 'size'
  if (Object.values(expect).some(value => value !== undefined)) return 'expect'
  if (once) return 'once'
  if (replay === 'offset') return "replay: 'offset'"
  if (inPlace !== undefined) return 'inPlace'
  return compression === undefined ? undefined : 'compression'
}

function placeOf({ endpoint, region, bucket, cname, pathStyle }: Checkpoint): Place {
  return { endpoint, region, bucket, cname, pathStyle }
}
