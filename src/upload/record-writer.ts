/**
 * The ledger: the one record that a run works on, and how its changes reach the disk. A run works on
 * `upload`, or, when a sealed predecessor is finished while a later stream lies there unsealed, on
 * `previous`; nobody but this file knows which.
 */
import type { Claim } from '../disk/claim.js'
import type { Checkpoint, UploadRecord } from '../disk/checkpoint.js'
import {
  reopen,
  dropPrevious,
  addSuperseded,
  timestamp,
  unseal,
  withoutInitiating,
  withUploadId,
} from './phase.js'

/** Checkpoints that only say how far it got are written at most this often, in ms. */
const SAVE_INTERVAL_MS = 1_000

/** A short stream is over by then, in ms, and one checkpoint is all it needs. */
const FIRST_SAVE_DELAY_MS = 20

/** What a record says for people, and for a source that continues behind verified bytes. */
export type ProgressFields = Pick<
  UploadRecord,
  'spooled' | 'crcs' | 'uploaded' | 'acknowledged' | 'freed'
>

export class RecordWriter {
  readonly #claim: Claim
  readonly slot: 'upload' | 'previous'
  #lastWrite = 0
  #timer: NodeJS.Timeout | undefined
  #closed = false

  /** How far the work has got; set by whoever does it. */
  progressFields: () => Partial<ProgressFields> = () => ({})

  constructor(claim: Claim, slot: 'upload' | 'previous' = 'upload') {
    this.#claim = claim
    this.slot = slot
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

  /** The checkpoint with `record` in its place. */
  with(record: UploadRecord): Checkpoint {
    return { ...this.checkpoint, [this.slot]: record }
  }

  /**
   * The first checkpoint of a stream: written soon, or with what is written before that. Until then
   * nothing depends on it: whatever goes to OSS is announced first, and nothing is sealed.
   */
  start(checkpoint: Checkpoint): void {
    this.#claim.stage(checkpoint)
    this.#lastWrite = Date.now() - SAVE_INTERVAL_MS + FIRST_SAVE_DELAY_MS
    this.scheduleSave()
  }

  /**
   * Takes over `record` without a write of its own, as long as nothing of this upload is durable:
   * what is written next contains it.
   * @returns false when it must be written
   */
  stage(record: UploadRecord): boolean {
    if (this.#claim.saved !== null) return false
    this.#claim.stage(this.with(record))
    return true
  }

  /** Resolves when `checkpoint` is durable. */
  async save(checkpoint: Checkpoint): Promise<void> {
    this.cancelScheduledSave()
    await this.#claim.save(checkpoint)
    this.#lastWrite = Date.now()
  }

  /** Resolves when `record` is durable. */
  write(record: UploadRecord): Promise<void> {
    // Numbers and CRCs: they keep the record's type.
    const now = { ...record, ...this.progressFields(), updatedAt: timestamp() } as UploadRecord
    return this.save(this.with(now))
  }

  /**
   * Writes how far it got, when it is due. Nothing depends on it but what `ls` shows and how much of
   * a source with `replay: 'offset'` is read again, so a failure to write is left to the next write
   * that something depends on.
   */
  scheduleSave(): void {
    if (this.#timer !== undefined || this.#closed) return
    const due = Math.max(0, this.#lastWrite + SAVE_INTERVAL_MS - Date.now())
    this.#timer = setTimeout(() => {
      void this.write(this.record).catch(() => undefined)
    }, due).unref()
  }

  /** Drops a note that is not yet written: what is about to be written says more. */
  cancelScheduledSave(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  /** Drops a note that is not yet written, and all to come: the claim is about to end. */
  close(): void {
    this.#closed = true
    this.cancelScheduledSave()
  }

  /** Initiate is about to be sent, and may take effect until `to`. */
  async initiating(from: number, to: number): Promise<void> {
    const window = { from: new Date(from).toISOString(), to: new Date(to).toISOString() }
    await this.write({ ...this.record, initiating: window })
  }

  /** Initiate was answered; `lost`: the answer to an earlier attempt was not. */
  async initiated(uploadId: string, lost: boolean): Promise<void> {
    const { record } = this
    const window = lost && record.initiating !== undefined ? [record.initiating] : []
    await this.save({
      ...this.with(withUploadId(withoutInitiating(record), uploadId)),
      lost: [...this.checkpoint.lost, ...window],
    })
  }

  /** The upload id is gone on OSS. */
  async clearUploadId(): Promise<void> {
    await this.write(withUploadId(this.record, undefined))
  }

  /**
   * What came about under the upload id is not what was to be, or OSS says so: another one is next. The
   * old one stays known, since OSS may later say that its object is right after all.
   */
  async dropWrongUploadId(): Promise<void> {
    const { record, checkpoint } = this
    if (record.phase !== 'sealed' && record.phase !== 'completing') return
    const sealed = withUploadId(reopen(record), undefined)
    await this.save({
      ...this.with(sealed),
      superseded: addSuperseded(checkpoint, record.uploadId),
    })
  }

  /** Bytes that only OSS had are lost: what was sealed needs its source again, or is history. */
  async unseal(): Promise<void> {
    const { record } = this
    if (record.phase !== 'sealed' && record.phase !== 'completing') return
    const { checkpoint } = this
    const rest = this.slot === 'upload' ? this.with(unseal(record)) : dropPrevious(checkpoint)
    await this.save({ ...rest, superseded: addSuperseded(checkpoint, record.uploadId) })
  }

  /** True when the upload id is a sealed predecessor's, whose parts must not be changed. */
  isPredecessorUploadId(uploadId: string): boolean {
    return this.slot === 'upload' && this.checkpoint.previous?.uploadId === uploadId
  }

  /** Leaves a borrowed upload id to its owner; the next one goes with a token of its own. */
  async startOwnUploadId(token: string): Promise<void> {
    await this.write({ ...withUploadId(this.record, undefined), token })
  }
}
