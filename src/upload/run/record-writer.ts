/**
 * Writes one record of an upload's checkpoint: `upload`, or `previous` when a sealed predecessor is finished
 * although a later, unsealed stream exists. Every change of a record passes through here.
 */
import type { Claim } from '../../disk/claim.js'
import {
  isFinishable,
  type Checkpoint,
  type Finishable,
  type Sealed,
  type Slot,
  type UploadRecord,
} from '../../disk/checkpoint.js'
import {
  addSuperseded,
  addUnanswered,
  dropPrevious,
  backToSealed,
  removeUnanswered,
  timestamp,
  unseal,
  withoutInitiating,
  withUploadId,
} from '../model/phase.js'

/** Progress alone is saved at most this often, in ms. */
const SAVE_INTERVAL_MS = 1_000

/** Delay of the first save, in ms: a short stream ends earlier and needs a single checkpoint. */
const FIRST_SAVE_DELAY_MS = 20

/** Progress of an upload, for users and for a source that continues after the verified bytes. */
export type ProgressFields = Pick<UploadRecord, 'spooled' | 'crcs' | 'uploaded' | 'acknowledged'>

export class RecordWriter {
  readonly slot: Slot
  readonly #claim: Claim
  readonly #progressFields: () => Partial<ProgressFields>
  #timer: NodeJS.Timeout | undefined
  #closed = false

  /** @param progressFields – added to every record that `write` saves */
  constructor(claim: Claim, slot: Slot, progressFields: () => Partial<ProgressFields>) {
    this.#claim = claim
    this.slot = slot
    this.#progressFields = progressFields
  }

  get checkpoint(): Checkpoint {
    const { checkpoint } = this.#claim
    if (checkpoint === null) throw new Error(`Upload ${this.#claim.id} has no checkpoint`)
    return checkpoint
  }

  get record(): UploadRecord {
    const record = this.checkpoint[this.slot]
    if (record === undefined) throw new Error(`Upload ${this.#claim.id} has no ${this.slot}`)
    return record
  }

  /** The checkpoint with `record` in this writer's slot. */
  with(record: UploadRecord): Checkpoint {
    return { ...this.checkpoint, [this.slot]: record }
  }

  /**
   * Stages the first checkpoint of a stream. It is saved soon, or as part of an earlier save. Until then
   * nothing depends on it: requests to OSS are recorded before they are sent, and nothing is sealed.
   */
  start(checkpoint: Checkpoint): void {
    this.#claim.db.stage(checkpoint)
    this.#scheduleSave(FIRST_SAVE_DELAY_MS)
  }

  /**
   * Stages `record` without a save of its own, as long as nothing of this upload is durable: the next save
   * includes it.
   * @returns false when it must be saved
   */
  stage(record: UploadRecord): boolean {
    if (this.#claim.db.saved !== null) return false
    this.#claim.db.stage(this.with(record))
    return true
  }

  /** Resolves when `checkpoint` is durable. */
  save(checkpoint: Checkpoint): Promise<void> {
    this.cancelScheduledSave()
    return this.#claim.db.write(checkpoint)
  }

  /** Resolves when `record`, with the current progress, is durable. */
  write(record: UploadRecord): Promise<void> {
    this.cancelScheduledSave()
    // The progress fields do not change the type of the record.
    const now = { ...record, ...this.#progressFields(), updatedAt: timestamp() } as UploadRecord
    return this.#claim.db.write(this.with(now))
  }

  /**
   * Saves the progress when the interval allows. Only `ls`, and the offset at which a source with `replay:
   * 'offset'` continues, depend on it, so a failure is left to the next save that matters.
   */
  scheduleSave(): void {
    const wait = this.#claim.db.savedAt + SAVE_INTERVAL_MS - performance.now()
    this.#scheduleSave(Math.max(0, wait))
  }

  #scheduleSave(delay: number): void {
    if (this.#timer !== undefined || this.#closed) return
    this.#timer = setTimeout(() => {
      const record = this.checkpoint[this.slot] // missing if the predecessor was dropped
      if (record !== undefined) void this.write(record).catch(() => undefined)
    }, delay).unref()
  }

  /** Cancels the scheduled save: the save that follows includes its fields. */
  cancelScheduledSave(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  /** Cancels the scheduled save and all later ones: the claim is about to end. */
  close(): void {
    this.#closed = true
    this.cancelScheduledSave()
  }

  /** Records that Initiate is about to be sent and may take effect until `to` (ms since 1970). */
  async initiating(from: number, to: number): Promise<void> {
    const window = { from: new Date(from).toISOString(), to: new Date(to).toISOString() }
    await this.write({ ...this.record, initiating: window })
  }

  /**
   * Records the upload id of a successful Initiate.
   * @param lost – whether the response to an earlier attempt was lost
   */
  async initiated(uploadId: string, { lost }: { lost: boolean }): Promise<void> {
    const { record } = this
    const window = lost && record.initiating !== undefined ? [record.initiating] : []
    await this.save({
      ...this.with(withUploadId(withoutInitiating(record), uploadId)),
      lost: [...this.checkpoint.lost, ...window],
    })
  }

  /** Drops the upload id, which no longer exists on OSS. */
  async clearUploadId(): Promise<void> {
    const { record } = this
    const checkpoint = this.with(withUploadId(record, undefined))
    await this.save(
      record.uploadId === undefined ? checkpoint : removeUnanswered(checkpoint, record.uploadId),
    )
  }

  /** Replaces the upload id, which OSS refuses to say anything about. It is aborted later. */
  async abandonUploadId(): Promise<void> {
    const { record, checkpoint } = this
    const superseded = addSuperseded(checkpoint, record.uploadId)
    await this.save({ ...this.with(withUploadId(record, undefined)), superseded })
  }

  /** Returns to `sealed` after a Complete or PutObject that OSS did not answer. */
  async unanswered(record: Finishable, sealed: Sealed): Promise<void> {
    const checkpoint = this.with(sealed)
    // Without its upload id, nothing can take effect any more.
    const isGone = sealed.uploadId === undefined && record.uploadId !== undefined
    await this.save(
      isGone ? removeUnanswered(checkpoint, record.uploadId) : addUnanswered(checkpoint, record),
    )
  }

  /** Records that OSS no longer knows `uploadId`, so that nothing can take effect under it. */
  async settled(uploadId: string): Promise<void> {
    await this.save(removeUnanswered(this.checkpoint, uploadId))
  }

  /**
   * Drops an upload id whose object is wrong, or is reported as wrong, so that the next attempt initiates a
   * new one. The old id is kept in `superseded`, since OSS may later report that its object is right after all.
   */
  async dropWrongUploadId(): Promise<void> {
    const { record, checkpoint } = this
    if (!isFinishable(record)) return
    const sealed = withUploadId(backToSealed(record), undefined)
    await this.save({
      ...this.with(sealed),
      superseded: addSuperseded(checkpoint, record.uploadId),
    })
  }

  /** Records the loss of bytes that only OSS had: the source is needed again, or the predecessor is dropped. */
  async unseal(): Promise<void> {
    const { record, checkpoint } = this
    if (!isFinishable(record)) return
    const rest = this.slot === 'upload' ? this.with(unseal(record)) : dropPrevious(checkpoint)
    await this.save({ ...rest, superseded: addSuperseded(checkpoint, record.uploadId) })
  }

  /**
   * True for the upload id of a sealed predecessor. Nothing may be written under it before it is durable that
   * the predecessor is superseded: after a crash, it may have to be finished from these parts (rule 4).
   */
  isPredecessorUploadId(uploadId: string): boolean {
    if (this.slot !== 'upload') return false
    const { checkpoint, durable } = this.#claim.db
    return [checkpoint, durable].some(state => state?.previous?.uploadId === uploadId)
  }

  /** Returns a borrowed upload id to the predecessor; the next Initiate sends `token`. */
  async startOwnUploadId(token: string): Promise<void> {
    const { record, checkpoint } = this
    const isNeeded = checkpoint.previous?.uploadId === record.uploadId
    const superseded = isNeeded ? checkpoint.superseded : addSuperseded(checkpoint, record.uploadId)
    await this.save({ ...this.with({ ...withUploadId(record, undefined), token }), superseded })
  }
}
