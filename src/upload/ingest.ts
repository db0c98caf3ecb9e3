/**
 * The intake: a stream's way into the spool, from its first checkpoint to the seal. It owns the rule
 * that nothing OSS or the network does stops the reading (rule 3), and the other one that only a
 * source that ended well is ever sealed (rule 2).
 */
import type { Checkpoint, Sealed, Spooling, UploadRecord } from '../disk/checkpoint.js'
import type { Claim } from '../disk/claim.js'
import { TempFile, TempFileDamagedError } from '../disk/temp-file.js'
import { SpoolError } from '../errors.js'
import { errorKind, OssRequestError } from '../oss/request-error.js'
import type { Place } from '../oss/bucket.js'
import { leaveUnfinished, type AbandonReason } from './abandon.js'
import type { UploadContext } from './context.js'
import { firstMismatch } from './expectation.js'
import { finish, type FinishResult } from './finish.js'
import { freedParts, isFreed, type FreedRanges } from './freed-parts.js'
import {
  chooseUploadId,
  listPartsWithRetry,
  findReusableSpool,
  type ReusableSpool,
} from './previous-run.js'
import { RecordWriter } from './record-writer.js'
import type { UploadSettings } from './options.js'
import {
  startSpooling,
  filesOf,
  onHost,
  newCheckpoint,
  seal,
  startSuccessor,
  replacePrevious,
  withLostInitiates,
} from './phase.js'
import { isSinglePut, createPlan, type Part } from './plan.js'
import { DiskQuota, splitAt } from './disk-quota.js'
import { PlanExhaustedError, Spooler, type CutPart } from './spooler.js'
import type { Transfer } from './transfer.js'
import { acknowledgedTotals, UploadRun } from './upload-run.js'

/**
 * A stream that is still open after so many ms gets its upload id, however little came: so that a
 * misspelt bucket is seen in the first second, and short streams cost one request.
 */
const INITIATE_DELAY_MS = 300

export class Ingest {
  readonly context: UploadContext
  readonly #writer: RecordWriter
  readonly #settings: UploadSettings
  readonly #file: TempFile
  readonly #run: UploadRun
  readonly #transfer: Transfer
  #spooler!: Spooler // set by `begin`, before anyone else has this object
  /** Replaced once, when it is known what an earlier run has freed. */
  #quota: DiskQuota
  /** Whole parts that are not offered yet: a short stream goes by PutObject. */
  #cut: CutPart[] = []
  #flowing: boolean
  #timer: NodeJS.Timeout | undefined
  /** The step under way: the descriptor is closed only after it. */
  #step: Promise<unknown> = Promise.resolve()
  /** The claim is no longer ours: finished, or in the quarantine. */
  #ended = false
  #abandoned = false

  /** Bytes of an earlier run that were verified and need not come again. */
  offset = 0
  /** Told when the upload cannot go on and the source should stop at once. */
  onFatal: (error: unknown) => void = () => {}

  private constructor(
    context: UploadContext,
    writer: RecordWriter,
    settings: UploadSettings,
    file: TempFile,
  ) {
    this.context = context
    this.#writer = writer
    this.#settings = settings
    this.#file = file
    this.#flowing = settings.start === 'eager'
    this.#quota = this.#createQuota([])
    this.#run = new UploadRun(context, writer, file)
    this.#transfer = this.#run.startTransfer(file, {
      onDone: part => this.#quota.acknowledge(part),
      onRestart: () => this.#quota.reset(),
      onFailure: error => {
        // What OSS or the network do never stops the reading (rule 3), but for a key that is taken.
        if (!(error instanceof OssRequestError) || errorKind(error) === 'exists')
          this.onFatal(error)
      },
    })
    const { lockLost } = context.claim
    lockLost?.addEventListener('abort', () => this.onFatal(lockLost.reason), { once: true })
  }

  /**
   * Makes the temp file and the first checkpoint.
   * `continues`: whoever brings the bytes heeds `offset`.
   */
  static async begin(
    context: UploadContext,
    place: Place,
    settings: UploadSettings,
    continues: boolean,
  ): Promise<Ingest> {
    const { claim } = context
    const before = claim.checkpoint === null ? null : withLostInitiates(claim.checkpoint)
    const plan = createPlan(settings.partSize, settings.size, settings.maxPartSize)
    const may = continues && before !== null
    const kept = may ? await findReusableSpool(context, before, settings, plan) : undefined
    const file = kept?.file ?? (await makeFile(claim, settings.inPlace))
    try {
      return await Ingest.#make(context, place, settings, plan, before, file, kept)
    } catch (error) {
      await file.close()
      if (kept === undefined) await file.remove()
      throw error
    }
  }

  static async #make(
    context: UploadContext,
    place: Place,
    settings: UploadSettings,
    plan: Spooling['plan'],
    before: Checkpoint | null,
    file: TempFile,
    kept: ReusableSpool | undefined,
  ): Promise<Ingest> {
    const { claim, key } = context
    const writer = new RecordWriter(claim)
    const { object, replay, once } = settings
    const fresh = startSpooling({ plan, object, replay, once, file: file.name })
    const crcs = kept?.crcs ?? []
    const record = {
      ...chooseUploadId(before, fresh, settings),
      crcs,
      spooled: kept?.spooled ?? 0,
      ...(kept?.freed === undefined ? {} : { freed: kept.freed }),
    }
    const checkpoint =
      before === null
        ? onHost(newCheckpoint(claim.id, place, key, record), claim.host)
        : startSuccessor(before, record)
    if (before === null) {
      writer.start(checkpoint)
    } else {
      await writer.save(checkpoint)
      await claim.removeOtherFiles(filesOf(checkpoint))
    }
    const ingest = new Ingest(context, writer, settings, file)
    ingest.#spooler = new Spooler(file, plan, settings.expect, part => ingest.#cut.push(part))
    const continues = settings.replay === 'offset'
    writer.progressFields = () => ({
      ...acknowledgedTotals(context),
      ...(continues ? ingest.#replayFields() : ingest.#spooledFields()),
    })
    await ingest.#replay(record, kept?.listed)
    ingest.#onSpooled()
    if (ingest.#flowing) {
      ingest.#timer = setTimeout(() => ingest.#transfer.start(), INITIATE_DELAY_MS).unref()
    }
    context.diagnostics.started(false, ingest.offset)
    return ingest
  }

  /**
   * Takes over what an earlier run left: what the file has, and what OSS has of the freed parts.
   * `known`: that, if OSS was asked already.
   */
  async #replay(record: Spooling, known: ReusableSpool['listed']): Promise<void> {
    const { crcs, freed } = record
    const listed =
      freed === undefined ? undefined : (known ?? (await listPartsWithRetry(this.context, record)))
    this.offset = await this.#spooler.replay(crcs.map(BigInt), ({ number, size, crc64 }) => {
      if (!isFreed(freed, number)) return undefined
      const part = listed?.get(number)
      return part?.size === size && part.crc64 === crc64
    })
    if (freed === undefined) return
    this.#quota = this.#createQuota(freedParts(record, this.offset))
    await this.#writer.write({ ...this.#spooling(), freed: this.#quota.freed })
  }

  #createQuota(freed: readonly Part[]): DiskQuota {
    const limit = this.#settings.maxSpoolBytes ?? Infinity
    const writeDown = (): Promise<void> => this.#writer.write(this.#writer.record)
    return new DiskQuota(limit, this.#file, freed, writeDown, this.context.signal)
  }

  /** Takes the next bytes; resolves when they are in the temp file. */
  write(chunks: readonly Uint8Array[]): Promise<void> {
    return this.#track(this.#write(chunks))
  }

  /** True once the seal is durable: the source is not needed any more. */
  get sealed(): boolean {
    return this.phase !== 'spooling'
  }

  /** That of the record which is durable. */
  get phase(): UploadRecord['phase'] {
    return this.context.claim.saved?.upload.phase ?? 'spooling'
  }

  /** The source ended well: checks what was expected and seals it. */
  seal(): Promise<void> {
    return this.#track(this.#seal())
  }

  /** Finishes what was sealed. Resolves when OSS holds the whole object. */
  finish(): Promise<FinishResult> {
    return this.#track(this.#finish())
  }

  async #write(chunks: readonly Uint8Array[]): Promise<void> {
    const { size } = this.#settings
    const after = this.#spooler.size + chunks.reduce((sum, chunk) => sum + chunk.length, 0)
    if (size !== undefined && after > size) {
      throw this.#expectationError(`the source has more than the ${size} bytes it was to have`)
    }
    for (let rest = chunks; rest.length > 0;) {
      const [some, later] = splitAt(rest, await this.#quota.reserve(this.#spooler.size))
      await this.#spool(some)
      rest = later
    }
  }

  async #spool(chunks: readonly Uint8Array[]): Promise<void> {
    try {
      await this.#spooler.write(chunks)
    } catch (error) {
      if (!(error instanceof PlanExhaustedError)) throw error
      const bounded = this.#settings.maxSpoolBytes !== undefined
      const instead = bounded ? 'a larger maxSpoolBytes, fewer in parallel' : 'a larger partSize'
      throw this.#expectationError(
        `the source is larger than its plan: ${error.message}; give its size, or ${instead}`,
      )
    }
    this.#onSpooled()
  }

  async #seal(): Promise<void> {
    clearTimeout(this.#timer)
    const end = this.#spooler.end()
    this.#checkExpectations(end)
    const single = isSinglePut(this.#spooling().plan, end.size)
    if (single) this.#writer.cancelScheduledSave()
    else if (this.#flowing) this.#sendCutParts() // the last part is under way while the disk works
    await this.#file.sync()
    this.#throwIfAbandoned()
    const sealed = seal(this.#spooling(), end)
    // Of a short stream nothing may have been written yet: `completing`, which comes next, says it all.
    const held = single && this.#writer.stage(sealed)
    if (!held) await this.#save(sealed)
    const parts = { ...this.context.progress.state.parts, total: single ? 1 : end.crcs.length }
    // Nobody is told of a seal that is not durable.
    this.context.progress.update({ size: end.size, parts, ...(held ? {} : { phase: 'sealed' }) })
    this.#run.partReporter.sealed(sealed, this.#file.path)
  }

  async #save(sealed: Sealed): Promise<void> {
    const { previous } = this.#writer.checkpoint
    await this.#writer.save(replacePrevious(this.#writer.checkpoint, sealed))
    if (previous !== undefined) await this.context.claim.removeFile(previous.file)
  }

  async #finish(): Promise<FinishResult> {
    this.#throwIfAbandoned()
    this.context.startRetryTime()
    if (isSinglePut(this.#spooling().plan, this.#spooler.size)) {
      await this.#transfer.stop() // at most an Initiate is under way; its upload id will be aborted
    } else {
      this.#transfer.sourceEnded()
      this.#sendCutParts()
    }
    try {
      const finished = await finish(this.#run)
      this.#ended = true
      await this.#close()
      return finished
    } catch (error) {
      if (!(error instanceof TempFileDamagedError)) throw error
      this.#ended = true
      await this.#close()
      throw await this.context.claim.quarantine(error)
    }
  }

  /** Nothing begins once the end was announced: the claim will be let go. */
  #throwIfAbandoned(): void {
    if (this.#abandoned) throw new Error(`Upload ${this.context.id} was given up`)
  }

  /**
   * Ends without success: what is sealed stays, what is not is a record without bytes. `reason` is
   * asked once it is known whether the seal, which may be under way, is durable.
   */
  async abandon(reason: AbandonReason): Promise<void> {
    this.#abandoned = true
    this.context.stop()
    await this.#step.catch(() => undefined) // its caller has its error
    if (this.#ended) return
    await this.#close()
    const howFar = (continues: boolean): Partial<Spooling> => ({
      ...acknowledgedTotals(this.context),
      ...(continues ? this.#replayFields() : {}),
    })
    await leaveUnfinished(this.context.claim, this.#file, howFar, reason)
  }

  #track<T>(step: Promise<T>): Promise<T> {
    this.#step = step
    return step
  }

  async #close(): Promise<void> {
    clearTimeout(this.#timer)
    this.#writer.close()
    this.context.progress.end()
    await this.#run.close()
  }

  /** New bytes are in the temp file: tells, notes, and offers parts once this is no short stream. */
  #onSpooled(): void {
    const { size } = this.#spooler
    this.context.progress.update({ spooled: size })
    this.#writer.scheduleSave()
    if (this.#flowing && !isSinglePut(this.#spooling().plan, size)) this.#sendCutParts()
  }

  /** What a source that continues needs besides. */
  #replayFields(): Pick<Spooling, 'spooled' | 'crcs' | 'freed'> {
    return { ...this.#spooledFields(), crcs: [...this.#spooler.crcs] }
  }

  #spooledFields(): Pick<Spooling, 'spooled' | 'freed'> {
    const { freed } = this.#quota
    return { spooled: this.#spooler.size, ...(freed.length === 0 ? {} : { freed }) }
  }

  /** Parts that are no longer on this disk. */
  get freed(): FreedRanges | undefined {
    return this.#writer.record.freed
  }

  #sendCutParts(): void {
    clearTimeout(this.#timer)
    for (const part of this.#cut.splice(0)) this.#transfer.add(part)
  }

  #checkExpectations(end: { size: number; crc64: bigint; md5?: string; sha256?: string }): void {
    const found = { bytes: end.size, crc64: String(end.crc64), md5: end.md5, sha256: end.sha256 }
    const miss = firstMismatch(this.#settings, found)
    if (miss !== undefined) throw this.#expectationError(miss)
  }

  #expectationError(what: string): SpoolError {
    const object = `oss://${this.#writer.checkpoint.bucket}/${this.context.key}`
    return new SpoolError('ERR_SPOOL_EXPECTATION', `${object}: ${what}; nothing published`, {
      id: this.context.id,
    })
  }

  /** The record while it is being written to; sealing is this class's doing alone. */
  #spooling(): Spooling {
    return this.#writer.record as Spooling
  }
}

async function makeFile(
  { directory, host }: Claim,
  inPlace: string | undefined,
): Promise<TempFile> {
  return inPlace === undefined
    ? TempFile.create(directory, host)
    : TempFile.link(directory, inPlace)
}
