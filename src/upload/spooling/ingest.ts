/**
 * The ingest: writes a stream to the spool, up to the seal, then finishes the upload. It enforces two rules:
 * no failure of OSS or the network stops reading (rule 3), and only a source that ended successfully is
 * sealed (rule 2).
 */
import { once } from 'node:events'
import { isCommitted, type Checkpoint, type Sealed, type Spooling } from '../../disk/checkpoint.js'
import type { SpoolFile } from '../../disk/spool-file.js'
import { TempFileDamagedError } from '../../disk/temp-file.js'
import { SpoolError } from '../../errors.js'
import type { UploadContext } from '../run/context.js'
import { errorContext, sourceFailedError, type ErrorContext } from '../run/error-mapping.js'
import { splitAt, type DiskQuota } from './disk-quota.js'
import { firstMismatch } from '../model/expectation.js'
import { hasFreedParts } from '../model/freed-parts.js'
import { finish, type FinishResult } from '../finish/finish.js'
import type { UploadSettings } from '../model/options.js'
import { replacePrevious, seal, timestamp } from '../model/phase.js'
import { isSinglePut, type CutPart } from '../model/plan.js'
import { Coalescer } from '../../util/coalesce.js'
import type { RecordWriter } from '../run/record-writer.js'
import { PlanExhaustedError, type PartCutter, type StreamPosition } from './part-cutter.js'
import type { Transfer } from '../transfer/transfer.js'
import { CompressionFailedError, type SourceCompressor } from './source-compressor.js'
import type { UploadResources } from '../finish/upload-resources.js'

/**
 * An open stream with `start: 'eager'` initiates its upload after this many ms, even if it has few bytes. Short
 * streams end earlier and cost one request, and a mistyped bucket is reported within the first second.
 */
const INITIATE_DELAY_MS = 300

/** Dependencies of an ingest, created by `start-ingest.ts`. */
export interface IngestDeps {
  readonly context: UploadContext
  readonly settings: UploadSettings
  readonly writer: RecordWriter
  readonly file: SpoolFile
  /** Compresses the source's bytes before they are cut, if requested. */
  readonly compressor: SourceCompressor | undefined
  readonly cutter: PartCutter
  /** Complete parts that are not sent yet. The part cutter appends to this array. */
  readonly cut: CutPart[]
  readonly quota: DiskQuota
  readonly resources: UploadResources
  readonly transfer: Transfer
  /** Verified bytes of an earlier run, which need not be read again. */
  readonly offset: number
  /** Aborted when the upload cannot continue and the source should stop. The reason is the error. */
  readonly fatal: AbortSignal
}

/** Returns the error to save for an abandoned upload. Called once it is known what is durable. */
export type AbandonReason = (state: ErrorContext) => { code: string; message: string }

export class Ingest {
  readonly context: UploadContext
  readonly offset: number
  readonly fatal: AbortSignal
  readonly #deps: IngestDeps
  readonly #sendsWhileSpooling: boolean
  #timer: NodeJS.Timeout | undefined
  /** The current step. The file descriptor is closed only after it. */
  #step: Promise<unknown> = Promise.resolve()
  /** Commits share their syncs. */
  readonly #commits = new Coalescer(() => this.#saveCommit())
  /** Where the latest requested commit ends. */
  #commitAt: StreamPosition | undefined
  /** The claim has ended: the upload is finished or quarantined. */
  #ended = false
  #abandoned = false

  constructor(parts: IngestDeps) {
    this.context = parts.context
    this.offset = parts.offset
    this.fatal = parts.fatal
    this.#deps = parts
    const { start } = parts.settings
    this.#sendsWhileSpooling = start !== 'sealed'
    if (start === 'eager') {
      this.#timer = setTimeout(() => parts.transfer.start(), INITIATE_DELAY_MS).unref()
    }
    this.#onSpooled()
  }

  /** Resolves when `chunks` are in the spool file. */
  write(chunks: readonly Uint8Array[]): Promise<void> {
    return this.#track(this.#write(chunks))
  }

  /** Whether any byte of the source was read. */
  get hasReadSource(): boolean {
    const { compressor, cutter } = this.#deps
    return (compressor ?? cutter).size > this.offset
  }

  /** What a new process would find. */
  get savedState(): ErrorContext {
    return this.#stateOf(this.context.claim.db.saved)
  }

  /** Resolves once the seal is durable. Never rejects. */
  async untilSealed(): Promise<void> {
    while (this.savedState.kept !== 'all') await once(this.context.claim.db, 'written')
  }

  /**
   * Makes all bytes so far a durable prefix that can be published (rule 13). Must be called between two writes;
   * later writes need not wait for it.
   */
  commit(): Promise<void> {
    const { cutter, quota } = this.#deps
    this.#commitAt = cutter.position
    quota.hold(this.#commitAt.size)
    return this.#commits.run()
  }

  /** Seals the upload after the source ended successfully. @throws SpoolError if an expectation is not met */
  seal(): Promise<void> {
    return this.#track(this.#seal())
  }

  /** Finishes the sealed upload. Resolves when OSS holds the whole object. */
  finish(): Promise<FinishResult> {
    return this.#track(this.#finish())
  }

  async #write(chunks: readonly Uint8Array[]): Promise<void> {
    const { settings, compressor, cutter } = this.#deps
    const { size } = settings
    const after = (compressor ?? cutter).size + chunks.reduce((sum, chunk) => sum + chunk.length, 0)
    if (size !== undefined && after > size) {
      throw this.#expectationError(`the source has more than the expected ${size} bytes`)
    }
    await this.#append(
      compressor === undefined ? chunks : await this.#compressed(compressor.write(chunks)),
    )
  }

  async #compressed(compressing: Promise<Buffer[]>): Promise<Buffer[]> {
    try {
      return await compressing
    } catch (error) {
      if (!(error instanceof CompressionFailedError)) throw error
      throw sourceFailedError(this.savedState, error)
    }
  }

  /** Appends bytes of the object to the spool file, as soon as there is space. */
  async #append(chunks: readonly Uint8Array[]): Promise<void> {
    const { cutter, quota } = this.#deps
    for (let rest = chunks; rest.length > 0;) {
      const [some, later] = splitAt(rest, await quota.reserve(cutter.size))
      await this.#spool(some)
      rest = later
    }
  }

  async #spool(chunks: readonly Uint8Array[]): Promise<void> {
    try {
      await this.#deps.cutter.write(chunks)
    } catch (error) {
      if (!(error instanceof PlanExhaustedError)) throw error
      const { maxSpoolBytes, compression } = this.#deps.settings
      const isBounded = maxSpoolBytes !== undefined
      const remedy = isBounded ? 'a larger maxSpoolBytes, a lower parallel' : 'a larger partSize'
      // The size of a source says nothing about that of the compressed object.
      const set = compression === undefined ? 'Set its size, or' : 'Set'
      throw this.#expectationError(
        `the source is larger than its plan (${error.message}). ${set} ${remedy}`,
      )
    }
    this.#onSpooled()
  }

  async #saveCommit(): Promise<void> {
    const { writer, file, cutter, quota } = this.#deps
    this.#throwIfAbandoned()
    const position = this.#commitAt
    if (position === undefined) return
    await file.sync()
    const { size, crc64 } = position
    const crcs = cutter.crcsOf(position)
    const committed = { size, crc64: String(crc64), crcs, at: timestamp() }
    await writer.write({ ...this.#spooling(), committed })
    quota.releaseBefore(size)
  }

  async #seal(): Promise<void> {
    const { context, settings, writer, file, compressor, cutter, resources } = this.#deps
    clearTimeout(this.#timer)
    if (compressor !== undefined) await this.#append(await this.#compressed(compressor.end()))
    const source = compressor?.describe()
    const end = { ...cutter.end(), source }
    const { size } = end
    const mismatch = firstMismatch(settings, source ?? end)
    if (mismatch !== undefined) throw this.#expectationError(mismatch)
    const isShort = this.#isShort()
    if (isShort) writer.cancelScheduledSave()
    else if (this.#sendsWhileSpooling) this.#sendCutParts() // the last part is sent while the disk syncs
    await file.sync()
    await this.#commits.idle()
    this.#throwIfAbandoned()
    const sealed = seal(this.#spooling(), end)
    // Skip saving the seal of a short stream: the next record, `completing`, includes it.
    const isStaged = isShort && writer.stage(sealed)
    if (!isStaged) await this.#save(sealed)
    const parts = { ...context.progress.state.parts, total: isShort ? 1 : end.crcs.length }
    // Report only a durable seal.
    context.progress.update({ size, parts, ...(isStaged ? {} : { phase: 'sealed' }) })
    resources.partReporter.sealed(sealed, file.path)
  }

  async #save(sealed: Sealed): Promise<void> {
    const { context, writer } = this.#deps
    const { previous } = writer.checkpoint
    await writer.save(replacePrevious(writer.checkpoint, sealed))
    if (previous === undefined) return
    await context.cleanUp(() => context.claim.removeFile(previous.file))
  }

  async #finish(): Promise<FinishResult> {
    const { context, resources, transfer } = this.#deps
    this.#throwIfAbandoned()
    context.startRetryTime()
    if (this.#isShort()) {
      await transfer.stop() // at most an Initiate is in flight, whose upload id will be aborted
    } else {
      transfer.sourceEnded()
      this.#sendCutParts()
    }
    try {
      const result = await finish(resources)
      this.#ended = true
      await this.#close()
      return result
    } catch (error) {
      if (!(error instanceof TempFileDamagedError)) throw error
      this.#ended = true
      await this.#close()
      throw await context.claim.quarantine(error)
    }
  }

  /** Starts no further step after `abandon`, which releases the claim. */
  #throwIfAbandoned(): void {
    if (this.#abandoned) throw new Error(`Upload ${this.context.id} was abandoned`)
  }

  /**
   * Stops the upload and releases the claim. A sealed upload is kept. An unsealed one keeps its record, and
   * its bytes only after a commit or with `replay: 'offset'`.
   */
  async abandon(reason: AbandonReason): Promise<void> {
    this.#abandoned = true
    this.context.stop()
    await this.#step.catch(() => undefined) // reported to its caller
    await this.#commits.idle()
    if (this.#ended) return
    await this.#close()
    const { claim, progress } = this.context
    await claim.db.idle()
    // The record of a short stream may not be saved yet.
    const checkpoint = claim.db.saved ?? claim.checkpoint
    if (checkpoint === null) return this.context.removeUpload()
    const { upload } = checkpoint
    const isUnsealed = upload.phase === 'spooling'
    const { code, message } = reason(this.#stateOf(checkpoint))
    const continues = isUnsealed && upload.replay === 'offset'
    // A record that may say otherwise must find its bytes.
    if (isUnsealed && !continues && !isCommitted(upload) && !claim.db.isSavedUnknown) {
      await this.context.cleanUp(() => this.#deps.file.remove())
    }
    try {
      if (upload.phase !== 'published') {
        const fields = { ...progress.acknowledged, ...(continues ? this.#replayFields() : {}) }
        const error = { code, message, at: timestamp() }
        await claim.db.write({ ...checkpoint, upload: { ...upload, ...fields, error } })
      }
    } catch (error) {
      if (claim.db.saved === null) reason(this.savedState)
      throw error
    } finally {
      await claim.releaseOrRemove()
    }
  }

  #stateOf(checkpoint: Checkpoint | null): ErrorContext {
    const { id, key, claim } = this.context
    return errorContext({ id, key, bucket: claim.checkpoint?.bucket ?? '' }, checkpoint)
  }

  #track<T>(step: Promise<T>): Promise<T> {
    this.#step = step
    return step
  }

  async #close(): Promise<void> {
    clearTimeout(this.#timer)
    this.#deps.compressor?.destroy()
    this.#deps.writer.close()
    this.context.progress.end()
    await this.#deps.resources.close()
  }

  /** Reports new bytes in the spool file, and sends complete parts unless the stream is short so far. */
  #onSpooled(): void {
    this.context.progress.update({ spooled: this.#deps.cutter.size })
    this.#deps.writer.scheduleSave()
    if (this.#sendsWhileSpooling && !this.#isShort()) this.#sendCutParts()
  }

  /** Returns whether one PutObject can send all bytes so far. None can send those that are only on OSS. */
  #isShort(): boolean {
    const record = this.#spooling()
    return isSinglePut(record.plan, this.#deps.cutter.size) && !hasFreedParts(record)
  }

  /** Returns the record fields from which a source can continue after the spooled bytes. */
  #replayFields(): Pick<Spooling, 'spooled' | 'crcs'> {
    const { size, crcs } = this.#deps.cutter
    return { spooled: size, crcs: [...crcs] }
  }

  #sendCutParts(): void {
    const parts = this.#deps.cut.splice(0)
    if (parts.length > 0) clearTimeout(this.#timer) // the first of them initiates the upload
    for (const part of parts) this.#deps.transfer.add(part)
  }

  #expectationError(mismatch: string): SpoolError {
    const { id, key } = this.context
    const object = `oss://${this.#deps.writer.checkpoint.bucket}/${key}`
    const message = `${object}: ${mismatch}. Nothing was published`
    const resumable = this.savedState.kept === 'committed'
    return new SpoolError('ERR_SPOOL_EXPECTATION', message, { id, resumable })
  }

  /** Returns the record while the stream is open. The cast is safe because only this class seals it. */
  #spooling(): Spooling {
    return this.#deps.writer.record as Spooling
  }
}
