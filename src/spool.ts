/**
 * The spool directory's public face: makes sinks, finishes what was left, tells what there is. Each
 * method locks the one upload it works on and leaves it in a state that any process can take up.
 */
import { EventEmitter } from 'node:events'
import { resolve } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { Checkpoint } from './disk/checkpoint.js'
import { Claim } from './disk/claim.js'
import { checkFileSystem, checkHoles } from './disk/file-system.js'
import { LocalRecords } from './disk/local-records.js'
import type { Checkpoints, Records } from './disk/records.js'
import { SpoolDirectory } from './disk/spool-directory.js'
import { TempFileDamage } from './disk/temp-file.js'
import { invalidType, outOfRange, SpoolError } from './errors.js'
import { connect } from './oss/connection.js'
import type { Connection, Place } from './oss/port.js'
import { Rate, type RateLimit } from './oss/rate.js'
import type { AliOssClient, ClientOptions } from './oss/settings.js'
import { inTurn } from './oss/shared-bucket.js'
import { Turns, type Share } from './oss/turns.js'
import { giveUp } from './upload/abort.js'
import { UploadContext, type SpoolWarning } from './upload/context.js'
import { failed } from './upload/failed.js'
import { missed } from './upload/expectation.js'
import { Intake } from './upload/intake.js'
import { list } from './upload/list.js'
import {
  checkId,
  checkKey,
  checkOptions,
  defaultDirectory,
  defaultId,
  integer,
  type UploadOptions,
  type UploadSettings,
} from './upload/options.js'
import { settlePredecessor } from './upload/predecessor.js'
import { prune, type Pruned, type PruneOptions, type Pruner } from './upload/prune.js'
import { Progress, type ProgressEvent } from './upload/progress.js'
import { receiptOf, resultOf, type UploadResult } from './upload/result.js'
import { finishableSlot, resumeUpload } from './upload/resume.js'
import { digestsOf } from './upload/sealed-bytes.js'
import { toSource, type Source, type SourceOptions } from './upload/source.js'
import type { UploadStatus } from './upload/status.js'
import { bereftOf, isDecided, takeover } from './upload/takeover.js'
import { SpoolWriteStream } from './write-stream.js'

/** `upload()` and `resume()` at work at a time. */
const UPLOADS = 64

/** Requests of all uploads at a time, or `parallel` if that is more: so many sockets. */
const REQUESTS = 32

export interface SpoolOptions extends Omit<UploadOptions, 'id'> {
  /** An `ali-oss` client, or the options to make one (then HTTPS and V4 signatures by default). */
  readonly client: AliOssClient | ClientOptions | Connection
  /** The spool directory. Default: `$OSS_SPOOL_DIR`, else `oss-spool` in the XDG state directory. */
  readonly dir?: string
  /**
   * Where records and locks of uploads are kept instead of `dir`, so that several machines share them:
   * `redisCheckpoints(connection)` of `oss-spool/redis`. Default: in `dir`, beside the bytes.
   */
  readonly checkpoints?: Checkpoints
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
  readonly onProgress?: (progress: ProgressEvent) => void
}

/** Emits `warning` (`SpoolWarning`): something failed and is tried again, or was set aside. */
export class Spool extends EventEmitter<{ warning: [SpoolWarning] }> {
  /** Absolute path of the spool directory. */
  readonly dir: string
  readonly #connection: Connection
  readonly #defaults: UploadOptions
  readonly #records: Records
  readonly #uploads: Turns
  readonly #requests: Turns
  #swept: Promise<void> | undefined
  #checked: Promise<void> | undefined
  #holes: Promise<void> | undefined

  /** @throws TypeError or RangeError for options that make no sense; nothing is touched yet */
  constructor(options: SpoolOptions) {
    super()
    const { client, dir, checkpoints, maxRate, fleetRate, ...rest } = options
    const { parallelUploads = UPLOADS, ...defaults } = rest
    checkRate(maxRate)
    if (fleetRate !== undefined && typeof fleetRate?.take !== 'function') {
      throw invalidType('fleetRate', 'made by fleetRate()', fleetRate)
    }
    if (checkpoints !== undefined && typeof checkpoints?.beside !== 'function') {
      throw invalidType('checkpoints', 'a store of checkpoints', checkpoints)
    }
    this.#connection = 'open' in client ? client : connect(client)
    const limits = [fleetRate, maxRate === undefined ? undefined : new Rate(maxRate)]
    if (limits.some(limit => limit !== undefined)) {
      this.#connection.limit(limits.filter(limit => limit !== undefined))
    }
    this.dir = resolve(dir ?? defaultDirectory())
    this.#defaults = defaults
    this.#records = checkpoints?.beside(new SpoolDirectory(this.dir)) ?? new LocalRecords(this.dir)
    checkOptions(defaults)
    integer('parallelUploads', parallelUploads, 1, 100_000)
    this.#uploads = new Turns(parallelUploads)
    this.#requests = new Turns(REQUESTS)
  }

  /**
   * A sink for `pipeline()`: `finish` means that OSS holds the whole object. New bytes supersede an
   * unfinished upload of the same id; parts that OSS already has are not sent again.
   * @throws TypeError, RangeError, SpoolError `ERR_SPOOL_INVALID_KEY`, before any work
   */
  createWriteStream(key: string, options: UploadOptions = {}): SpoolWriteStream {
    const { place, id, settings } = this.#check(key, options)
    const stream: SpoolWriteStream = new SpoolWriteStream({
      id,
      bucket: place.bucket,
      key,
      directory: this.#records.directoryOf(id),
      signal: settings.signal,
      open: async signal => {
        const claim = await this.#claim(id)
        return holding(claim, () => {
          const context = this.#context(claim, place, key, settings, {
            progress: event => void stream.emit('progress', event),
            warning: warning => void stream.emit('warning', warning),
          })
          return this.#begin(context, place, { ...settings, signal }, false)
        })
      },
    })
    return stream
  }

  /**
   * The step that can be retried: same id, same content. A sealed unfinished upload of that id is
   * finished and `source` is not called; otherwise it is called and read once.
   */
  async upload(key: string, source: Source, options: StepOptions = {}): Promise<UploadResult> {
    if (typeof source !== 'function') throw invalidType('source', 'a function', source)
    const { onProgress, atOnce = false, ...upload } = options
    const { place, id, settings } = this.#check(key, upload)
    const startedAt = performance.now()
    const turn = atOnce ? new Turns(1).share() : this.#uploads.share()
    return this.#inTurn(turn, id, { bucket: place.bucket, key }, settings.signal, async () => {
      const claim = await this.#claim(id)
      return holding(claim, () => {
        const progress = (event: ProgressEvent): void => onProgress?.(event)
        const context = this.#context(claim, place, key, settings, { progress })
        return this.#upload(context, place, source, settings, startedAt)
      })
    })
  }

  /** The unfinished uploads of this client's endpoint, oldest first. */
  async uploads(options: { all?: boolean; receipts?: boolean } = {}): Promise<UploadStatus[]> {
    await this.#sweep()
    const statuses = await list(this.#records, warning => this.emit('warning', warning))
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
    const { force = false, onProgress, ...run } = options
    // There is no source to wait, so a bound says nothing, and must not forbid another `parallel`.
    const { maxSpoolBytes: _bound, ...defaults } = this.#defaults
    const settings = checkOptions({ ...defaults, ...run })
    return this.#inTurn(this.#uploads.share(), id, undefined, settings.signal, async () => {
      const claim = await this.#existing(id)
      return holding(claim, () => this.#resume(claim, settings, force, onProgress))
    })
  }

  /** Gives an upload up: its upload ids on OSS first, then everything here. */
  async abort(id: string): Promise<void> {
    checkId(id)
    const claim = await this.#existing(id)
    await holding(claim, async () => {
      const { checkpoint } = claim
      const settings = checkOptions(this.#defaults)
      const context = this.#context(claim, placeOf(checkpoint), checkpoint.key, settings, {})
      await giveUp(context, this.#records)
    })
  }

  /** Removes the receipt of an upload with `once`; one that is unfinished stays. */
  async forget(id: string): Promise<void> {
    checkId(id)
    const claim = await this.#existing(id)
    const { upload, superseded, lost } = claim.checkpoint
    // What may still have to be aborted on OSS is known here alone: `prune` does that.
    const isOver = upload.phase === 'published' && superseded.length === 0 && lost.length === 0
    await holding(claim, () => (isOver ? claim.remove() : claim.release()))
  }

  /**
   * Removes what was idle for `olderThan` and is not owned: unsealed uploads (aborted on OSS),
   * receipts, the quarantine; sealed uploads and orphans only when asked.
   * @returns what was removed, or would be with `dryRun`
   */
  async prune(options: PruneOptions = {}): Promise<Pruned[]> {
    await this.#sweep()
    const settings = checkOptions(this.#defaults)
    const pruner: Pruner = {
      records: this.#records,
      contextOf: (claim, checkpoint) =>
        this.#context(claim, placeOf(checkpoint), checkpoint.key, settings, {}),
      warn: (id, cause) => {
        const message = cause instanceof Error ? cause.message : String(cause)
        this.emit('warning', { id, message, cause })
      },
    }
    return prune(pruner, options)
  }

  async #upload(
    context: UploadContext,
    place: Place,
    source: Source,
    settings: UploadSettings,
    startedAt: number,
  ): Promise<UploadResult> {
    const { claim } = context
    const { checkpoint } = claim
    if (checkpoint !== null) {
      sameObject(checkpoint, place, context.key)
      const { upload } = checkpoint
      if (upload.phase === 'published' && upload.once) {
        await claim.tidy([]) // a crash may have left its temp file
        await claim.release()
        return receiptOf(checkpoint, upload, performance.now() - startedAt)
      }
      const slot = await this.#finishable(context, checkpoint, settings, false)
      if (slot !== undefined && !isTooOld(checkpoint, slot, settings.maxAge)) {
        if (!claim.bereft) await compare(context, checkpoint, slot, settings)
        return this.#finish(context, checkpoint, slot, settings, false)
      }
    }
    return this.#read(await this.#begin(context, place, settings, true), source, settings)
  }

  async #resume(
    claim: Claim & { checkpoint: Checkpoint },
    settings: UploadSettings,
    force: boolean,
    onProgress: ResumeOptions['onProgress'],
  ): Promise<UploadResult> {
    const { id, checkpoint } = claim
    const context = this.#context(claim, placeOf(checkpoint), checkpoint.key, settings, {
      progress: event => onProgress?.(event),
    })
    const slot = await this.#finishable(context, checkpoint, settings, force)
    if (slot !== undefined) return this.#finish(context, checkpoint, slot, settings, force)
    await claim.release()
    const { upload } = checkpoint
    if (upload.phase === 'published') return receiptOf(checkpoint, upload, 0)
    const lost = claim.bereft && finishableSlot(checkpoint) !== undefined
    const why = lost ? bereftOf(checkpoint) : 'It did not end well'
    throw new SpoolError(
      'ERR_SPOOL_UNSEALED',
      `The source of upload ${id} (oss://${checkpoint.bucket}/${checkpoint.key}) is needed again. ${why}`,
      { id },
    )
  }

  /** What can be finished without a source, from the bytes here or because OSS has the object. */
  async #finishable(
    context: UploadContext,
    checkpoint: Checkpoint,
    settings: UploadSettings,
    force: boolean,
  ): Promise<'upload' | 'previous' | undefined> {
    const slot = finishableSlot(checkpoint)
    if (slot === undefined || !context.claim.bereft) return slot
    const decided = await stopping(context, settings.signal, () => isDecided(context, slot, force))
    return decided ? slot : undefined
  }

  /** One of `parallelUploads`. What fails before an upload has begun is told as what fails in it. */
  async #inTurn<T>(
    turn: Share,
    id: string,
    object: { bucket: string; key: string } | undefined,
    signal: AbortSignal | undefined,
    step: () => Promise<T>,
  ): Promise<T> {
    try {
      return await turn.take(signal, step)
    } catch (error) {
      if (error instanceof SpoolError) throw error
      const checkpoint = await this.#records.read(id).catch(() => null)
      const { bucket, key } = object ?? checkpoint ?? {}
      if (bucket === undefined || key === undefined) throw error
      const slot = checkpoint === null ? undefined : finishableSlot(checkpoint)
      const freed = slot && checkpoint?.[slot]?.freed
      throw failed(error, { id, bucket, key, sealed: slot !== undefined, freed })
    }
  }

  async #read(intake: Intake, source: Source, settings: UploadSettings): Promise<UploadResult> {
    const { context } = intake
    const stop = new AbortController()
    const stream = new SpoolWriteStream({
      id: context.id,
      bucket: context.checkpoint.bucket,
      key: context.key,
      directory: context.claim.directory,
      signal: settings.signal,
      open: async () => intake,
    })
    stream.on('error', () => {}) // the result rejects with it
    const signal = settings.signal ? AbortSignal.any([settings.signal, stop.signal]) : stop.signal
    const options: SourceOptions = { offset: intake.offset, signal }
    try {
      // A source that is still being made must not keep an upload that was aborted.
      if (!stream.destroyed)
        await pipeline(await Promise.race([readable(source, options), never(stream)]), stream)
    } catch (error) {
      stop.abort()
      if (!stream.destroyed)
        stream.destroy(error instanceof Error ? error : new Error(String(error)))
    }
    return stream.result
  }

  async #finish(
    context: UploadContext,
    checkpoint: Checkpoint,
    slot: 'upload' | 'previous',
    settings: UploadSettings,
    force: boolean,
  ): Promise<UploadResult> {
    const { published, callback } = await stopping(context, settings.signal, () =>
      resumeUpload(context, slot, force),
    )
    return resultOf(checkpoint, published, {
      sent: context.sent,
      skipped: context.skipped(published.size),
      sourceRead: false,
      resumed: true,
      elapsed: performance.now() - context.startedAt,
      callback,
    })
  }

  async #begin(
    context: UploadContext,
    place: Place,
    settings: UploadSettings,
    continues: boolean,
  ): Promise<Intake> {
    const { checkpoint } = context.claim
    if (checkpoint !== null) sameObject(checkpoint, place, context.key)
    if (settings.maxSpoolBytes !== undefined) await this.#needHoles()
    return stopping(context, settings.signal, async () => {
      if (checkpoint !== null) {
        await settlePredecessor(context)
        await takeover(context)
      }
      return Intake.begin(context, place, settings, continues)
    })
  }

  /** Once per spool, before its first bounded stream. */
  #needHoles(): Promise<void> {
    this.#holes ??= checkHoles(this.dir).catch((error: unknown) => {
      this.#holes = undefined
      throw error
    })
    return this.#holes
  }

  #check(
    key: string,
    options: UploadOptions,
  ): { place: Place; id: string; settings: UploadSettings } {
    checkKey(key)
    const settings = checkOptions({ ...this.#defaults, ...options })
    const place = this.#connection.place()
    return { place, id: options.id ?? defaultId(place, key), settings }
  }

  async #claim(id: string): Promise<Claim> {
    await (this.#checked ??= this.#checkFileSystem(id).catch((error: unknown) => {
      this.#checked = undefined
      throw error
    }))
    await this.#sweep()
    return Claim.make(this.#records, id)
  }

  async #existing(id: string): Promise<Claim & { checkpoint: Checkpoint }> {
    await this.#sweep()
    return Claim.existing(this.#records, id)
  }

  /** Once per spool, before its first upload: that locks exclude. */
  async #checkFileSystem(id: string): Promise<void> {
    const message = await checkFileSystem(this.dir)
    if (message !== undefined) this.emit('warning', { id, message })
  }

  /** Once per spool: what killed removals left behind. */
  #sweep(): Promise<void> {
    this.#swept ??= this.#records.sweep().catch((error: unknown) => {
      this.#swept = undefined
      throw error
    })
    return this.#swept
  }

  #context(
    claim: Claim,
    place: Place,
    key: string,
    settings: UploadSettings,
    listeners: {
      progress?: (event: ProgressEvent) => void
      warning?: (warning: SpoolWarning) => void
    },
  ): UploadContext {
    const progress = new Progress(event =>
      // Later, so that a listener that throws is its owner's uncaught exception, not our failed part.
      process.nextTick(() => listeners.progress?.(event)),
    )
    return new UploadContext(
      claim,
      inTurn(this.#connection.open(place), this.#requests.share(settings.parallel)),
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

function checkRate(maxRate: unknown): void {
  if (maxRate === undefined) return
  if (typeof maxRate !== 'number') throw invalidType('maxRate', 'a number', maxRate)
  if (!(maxRate >= 1024 && maxRate <= Number.MAX_SAFE_INTEGER)) {
    throw outOfRange('maxRate', '>= 1024 bytes/s', maxRate)
  }
}

/** Runs `step`; the signal stops what it does on the line. */
async function stopping<T>(
  context: UploadContext,
  signal: AbortSignal | undefined,
  step: () => Promise<T>,
): Promise<T> {
  const stop = (): void => context.stop()
  signal?.addEventListener('abort', stop, { once: true })
  if (signal?.aborted) stop()
  try {
    return await step()
  } catch (error) {
    const { lost } = context.claim
    throw lost?.aborted === true ? lost.reason : error
  } finally {
    signal?.removeEventListener('abort', stop)
  }
}

/** Runs `step` with a claim; if it fails while the claim is still held, the claim is let go. */
async function holding<T>(claim: Claim, step: () => Promise<T>): Promise<T> {
  try {
    return await step()
  } catch (error) {
    await claim.leave()
    throw error
  }
}

/** The source; one that comes too late is closed. */
async function readable(source: Source, options: SourceOptions): Promise<NodeJS.ReadableStream> {
  const made = await toSource(source, options)
  if (options.signal.aborted && made instanceof Readable) made.destroy()
  return made
}

/** Rejects when the sink ends before it was given a source. */
async function never({ result }: SpoolWriteStream): Promise<never> {
  await result
  throw new Error('A sink cannot finish before it has a source')
}

function placeOf({ endpoint, region, bucket, cname, pathStyle }: Checkpoint): Place {
  return { endpoint, region, bucket, cname, pathStyle }
}

function sameObject(checkpoint: Checkpoint, place: Place, key: string): void {
  const { id, endpoint, bucket } = checkpoint
  if (bucket === place.bucket && checkpoint.key === key && endpoint === place.endpoint) return
  throw new SpoolError(
    'ERR_SPOOL_ID_IN_USE',
    `The id ${id} belongs to oss://${bucket}/${checkpoint.key} at ${endpoint}`,
    { id },
  )
}

function isTooOld(checkpoint: Checkpoint, slot: 'upload' | 'previous', maxAge = Infinity): boolean {
  const record = checkpoint[slot]
  if (record === undefined || !('sealedAt' in record)) return false
  return Date.now() - Date.parse(record.sealedAt) > maxAge
}

/** `expect` given to an upload that is sealed already: compared, and nothing is changed. */
async function compare(
  context: UploadContext,
  checkpoint: Checkpoint,
  slot: 'upload' | 'previous',
  { expect, size }: UploadSettings,
): Promise<void> {
  const record = checkpoint[slot]
  if (record?.phase !== 'sealed' && record?.phase !== 'completing') return
  const wanted = { ...(size === undefined ? {} : { bytes: size }), ...expect }
  const { claim } = context
  const digests = await digestsOf(claim.directory, record, wanted).catch(async (error: unknown) => {
    throw error instanceof TempFileDamage ? await claim.quarantine(error) : error
  })
  const miss = missed(wanted, { bytes: record.size, crc64: record.crc64, ...digests })
  if (miss === undefined) return
  throw new SpoolError(
    'ERR_SPOOL_EXPECTATION',
    `The sealed upload ${context.id} is not what was expected: ${miss}; it stays as it is`,
    { id: context.id, hint: `"oss-spool resume ${context.id}" publishes it all the same.` },
  )
}
