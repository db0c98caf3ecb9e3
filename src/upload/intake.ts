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
import { leaveUnfinished, type Reason } from './abandon.js'
import type { UploadContext } from './context.js'
import { missed } from './expectation.js'
import { finish, type Finished } from './finish.js'
import { freedParts, isFreed, type Freed } from './freed.js'
import { adoptFrom, listedInTheEnd, reusable, type Kept } from './kept.js'
import { Ledger } from './ledger.js'
import type { UploadSettings } from './options.js'
import {
  begin,
  filesOf,
  onHost,
  open,
  seal,
  succeed,
  supersede,
  withLostInitiates,
} from './phase.js'
import { isSinglePut, planFor, type Part } from './plan.js'
import { Room, splitAt } from './room.js'
import { PlanExhausted, Spooler, type CutPart } from './spooler.js'
import type { Transfer } from './transfer.js'
import { arrived, UploadWork } from './work.js'

/**
 * A stream that is still open after so many ms gets its upload id, however little came: so that a
 * misspelt bucket is seen in the first second, and short streams cost one request.
 */
const EAGER_AFTER = 300

export class Intake {
  readonly context: UploadContext
  readonly #ledger: Ledger
  readonly #settings: UploadSettings
  readonly #file: TempFile
  readonly #work: UploadWork
  readonly #transfer: Transfer
  #spooler!: Spooler // set by `begin`, before anyone else has this object
  /** Replaced once, when it is known what an earlier run has freed. */
  #room: Room
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
    ledger: Ledger,
    settings: UploadSettings,
    file: TempFile,
  ) {
    this.context = context
    this.#ledger = ledger
    this.#settings = settings
    this.#file = file
    this.#flowing = settings.start === 'eager'
    this.#room = this.#makeRoom([])
    this.#work = new UploadWork(context, ledger, file)
    this.#transfer = this.#work.flow(file, {
      onDone: part => this.#room.acknowledge(part),
      onRestart: () => this.#room.doubt(),
      onFailure: error => {
        // What OSS or the network do never stops the reading (rule 3), but for a key that is taken.
        if (!(error instanceof OssRequestError) || errorKind(error) === 'exists')
          this.onFatal(error)
      },
    })
    const { lockLost: lost } = context.claim
    lost?.addEventListener('abort', () => this.onFatal(lost.reason), { once: true })
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
  ): Promise<Intake> {
    const { claim } = context
    const before = claim.checkpoint === null ? null : withLostInitiates(claim.checkpoint)
    const plan = planFor(settings.partSize, settings.size, settings.maxPartSize)
    const may = continues && before !== null
    const kept = may ? await reusable(context, before, settings, plan) : undefined
    const file = kept?.file ?? (await makeFile(claim, settings.inPlace))
    try {
      return await Intake.#make(context, place, settings, plan, before, file, kept)
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
    kept: Kept | undefined,
  ): Promise<Intake> {
    const { claim, key } = context
    const ledger = new Ledger(claim)
    const { object, replay, once } = settings
    const fresh = begin({ plan, object, replay, once, file: file.name })
    const crcs = kept?.crcs ?? []
    const record = {
      ...adoptFrom(before, fresh, settings),
      crcs,
      spooled: kept?.spooled ?? 0,
      ...(kept?.freed === undefined ? {} : { freed: kept.freed }),
    }
    const checkpoint =
      before === null
        ? onHost(open(claim.id, place, key, record), claim.host)
        : succeed(before, record)
    if (before === null) {
      ledger.begin(checkpoint)
    } else {
      await ledger.save(checkpoint)
      await claim.removeOtherFiles(filesOf(checkpoint))
    }
    const intake = new Intake(context, ledger, settings, file)
    intake.#spooler = new Spooler(file, plan, settings.expect, part => intake.#cut.push(part))
    const continues = settings.replay === 'offset'
    ledger.howFar = () => ({
      ...arrived(context),
      ...(continues ? intake.#kept() : intake.#spooledSoFar()),
    })
    await intake.#replay(record, kept?.listed)
    intake.#spooled()
    if (intake.#flowing) {
      intake.#timer = setTimeout(() => intake.#transfer.start(), EAGER_AFTER).unref()
    }
    context.telemetry.started(false, intake.offset)
    return intake
  }

  /**
   * Takes over what an earlier run left: what the file has, and what OSS has of the freed parts.
   * `known`: that, if OSS was asked already.
   */
  async #replay(record: Spooling, known: Kept['listed']): Promise<void> {
    const { crcs, freed } = record
    const listed =
      freed === undefined ? undefined : (known ?? (await listedInTheEnd(this.context, record)))
    this.offset = await this.#spooler.replay(crcs.map(BigInt), ({ number, size, crc64 }) => {
      if (!isFreed(freed, number)) return undefined
      const part = listed?.get(number)
      return part?.size === size && part.crc64 === crc64
    })
    if (freed === undefined) return
    this.#room = this.#makeRoom(freedParts(record, this.offset))
    await this.#ledger.write({ ...this.#spooling(), freed: this.#room.freed })
  }

  #makeRoom(freed: readonly Part[]): Room {
    const limit = this.#settings.maxSpoolBytes ?? Infinity
    const writeDown = (): Promise<void> => this.#ledger.write(this.#ledger.record)
    return new Room(limit, this.#file, freed, writeDown, this.context.signal)
  }

  /** Takes the next bytes; resolves when they are in the temp file. */
  write(chunks: readonly Uint8Array[]): Promise<void> {
    return this.#during(this.#write(chunks))
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
    return this.#during(this.#seal())
  }

  /** Finishes what was sealed. Resolves when OSS holds the whole object. */
  finish(): Promise<Finished> {
    return this.#during(this.#finish())
  }

  async #write(chunks: readonly Uint8Array[]): Promise<void> {
    const { size } = this.#settings
    const after = this.#spooler.size + chunks.reduce((sum, chunk) => sum + chunk.length, 0)
    if (size !== undefined && after > size) {
      throw this.#unexpected(`the source has more than the ${size} bytes it was to have`)
    }
    for (let rest = chunks; rest.length > 0;) {
      const [some, later] = splitAt(rest, await this.#room.make(this.#spooler.size))
      await this.#spool(some)
      rest = later
    }
  }

  async #spool(chunks: readonly Uint8Array[]): Promise<void> {
    try {
      await this.#spooler.write(chunks)
    } catch (error) {
      if (!(error instanceof PlanExhausted)) throw error
      const bounded = this.#settings.maxSpoolBytes !== undefined
      const instead = bounded ? 'a larger maxSpoolBytes, fewer in parallel' : 'a larger partSize'
      throw this.#unexpected(
        `the source is larger than its plan: ${error.message}; give its size, or ${instead}`,
      )
    }
    this.#spooled()
  }

  async #seal(): Promise<void> {
    clearTimeout(this.#timer)
    const end = this.#spooler.end()
    this.#check(end)
    const single = isSinglePut(this.#spooling().plan, end.size)
    if (single) this.#ledger.dropNote()
    else if (this.#flowing) this.#offer() // the last part is under way while the disk works
    await this.#file.sync()
    this.#refuseIfAbandoned()
    const sealed = seal(this.#spooling(), end)
    // Of a short stream nothing may have been written yet: `completing`, which comes next, says it all.
    const held = single && this.#ledger.hold(sealed)
    if (!held) await this.#save(sealed)
    const parts = { ...this.context.progress.state.parts, total: single ? 1 : end.crcs.length }
    // Nobody is told of a seal that is not durable.
    this.context.progress.update({ size: end.size, parts, ...(held ? {} : { phase: 'sealed' }) })
    this.#work.reporter.sealed(sealed, this.#file.path)
  }

  async #save(sealed: Sealed): Promise<void> {
    const { previous } = this.#ledger.checkpoint
    await this.#ledger.save(supersede(this.#ledger.checkpoint, sealed))
    if (previous !== undefined) await this.context.claim.removeFile(previous.file)
  }

  async #finish(): Promise<Finished> {
    this.#refuseIfAbandoned()
    this.context.startPatience()
    if (isSinglePut(this.#spooling().plan, this.#spooler.size)) {
      await this.#transfer.stop() // at most an Initiate is under way; its upload id will be aborted
    } else {
      this.#transfer.limit()
      this.#offer()
    }
    try {
      const finished = await finish(this.#work)
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
  #refuseIfAbandoned(): void {
    if (this.#abandoned) throw new Error(`Upload ${this.context.id} was given up`)
  }

  /**
   * Ends without success: what is sealed stays, what is not is a record without bytes. `reason` is
   * asked once it is known whether the seal, which may be under way, is durable.
   */
  async abandon(reason: Reason): Promise<void> {
    this.#abandoned = true
    this.context.stop()
    await this.#step.catch(() => undefined) // its caller has its error
    if (this.#ended) return
    await this.#close()
    const howFar = (continues: boolean): Partial<Spooling> => ({
      ...arrived(this.context),
      ...(continues ? this.#kept() : {}),
    })
    await leaveUnfinished(this.context.claim, this.#file, howFar, reason)
  }

  #during<T>(step: Promise<T>): Promise<T> {
    this.#step = step
    return step
  }

  async #close(): Promise<void> {
    clearTimeout(this.#timer)
    this.#ledger.close()
    this.context.progress.end()
    await this.#work.close()
  }

  /** New bytes are in the temp file: tells, notes, and offers parts once this is no short stream. */
  #spooled(): void {
    const { size } = this.#spooler
    this.context.progress.update({ spooled: size })
    this.#ledger.note()
    if (this.#flowing && !isSinglePut(this.#spooling().plan, size)) this.#offer()
  }

  /** What a source that continues needs besides. */
  #kept(): Pick<Spooling, 'spooled' | 'crcs' | 'freed'> {
    return { ...this.#spooledSoFar(), crcs: [...this.#spooler.crcs] }
  }

  #spooledSoFar(): Pick<Spooling, 'spooled' | 'freed'> {
    const { freed } = this.#room
    return { spooled: this.#spooler.size, ...(freed.length === 0 ? {} : { freed }) }
  }

  /** Parts that are no longer on this disk. */
  get freed(): Freed | undefined {
    return this.#ledger.record.freed
  }

  #offer(): void {
    clearTimeout(this.#timer)
    for (const part of this.#cut.splice(0)) this.#transfer.offer(part)
  }

  #check(end: { size: number; crc64: bigint; md5?: string; sha256?: string }): void {
    const found = { bytes: end.size, crc64: String(end.crc64), md5: end.md5, sha256: end.sha256 }
    const miss = missed(this.#settings, found)
    if (miss !== undefined) throw this.#unexpected(miss)
  }

  #unexpected(what: string): SpoolError {
    const object = `oss://${this.#ledger.checkpoint.bucket}/${this.context.key}`
    return new SpoolError('ERR_SPOOL_EXPECTATION', `${object}: ${what}; nothing published`, {
      id: this.context.id,
    })
  }

  /** The record while it is being written to; sealing is this class's doing alone. */
  #spooling(): Spooling {
    return this.#ledger.record as Spooling
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
