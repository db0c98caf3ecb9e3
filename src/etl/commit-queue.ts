/**
 * Commits of a job: decides when one is due, and which callers of `commit()` it serves. Commits never overlap.
 * Calls made during one share the next, so that frequent calls cost few syncs and few gzip members.
 */

/** When a commit is due without a call. */
export interface CommitLimits {
  /** Number of records after which a commit is due; may be infinite. */
  readonly records: number
  /** Time in ms from the first record after a commit until the next one is due. */
  readonly ms: number | undefined
}

/** Callbacks of the queue. */
export interface CommitListener {
  /** The first `records` records of the job are durable. */
  onCommit(records: number): void
  /** A commit failed, so the job cannot succeed. */
  onFailure(error: unknown): void
}

/** A call of `commit()` that is not durable yet. */
interface PendingCommit {
  /** Number of records that it covers. */
  readonly records: number
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

export class CommitQueue {
  readonly #limits: CommitLimits
  readonly #commit: () => Promise<number>
  readonly #listener: CommitListener
  #pending: PendingCommit[] = []
  /** Records that the job has taken. */
  #written = 0
  /** Records at the start of the latest commit. */
  #started = 0
  #durable = 0
  #isDue = false
  #timer: NodeJS.Timeout | undefined
  #running: Promise<void> | undefined
  /** Why later records cannot become durable. */
  #end: { readonly error: unknown } | undefined

  /** @param commit – makes all records so far durable; resolves with their number */
  constructor(limits: CommitLimits, commit: () => Promise<number>, listener: CommitListener) {
    this.#limits = limits
    this.#commit = commit
    this.#listener = listener
  }

  /** Number of records until the next commit is due; infinite if one is due already. */
  get untilDue(): number {
    if (this.#isDue) return Infinity
    return this.#limits.records - (this.#written - this.#started)
  }

  /** Counts records that the job has taken. Starts a commit if one is due. */
  add(records: number): void {
    this.#written += records
    this.#isDue ||= this.#written - this.#started >= this.#limits.records
    if (this.#limits.ms !== undefined) this.#timer ??= this.#startTimer(this.#limits.ms)
    this.#start()
  }

  /** Resolves when the first `records` records of the job are durable. Rejects if they will never be. */
  request(records: number): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#pending.push({ records, resolve, reject })
      this.#settle()
      this.#start()
    })
  }

  /** Resolves when no commit is in progress. */
  async idle(): Promise<void> {
    await this.#running
  }

  /** OSS has stored all records. */
  finish(): void {
    this.#durable = Infinity
    this.#stop(undefined)
  }

  /** The job has ended: records that are not durable now never will be. */
  fail(error: unknown): void {
    this.#stop(error)
  }

  #stop(error: unknown): void {
    this.#end ??= { error }
    clearTimeout(this.#timer)
    this.#settle()
  }

  /** Unref'd: the source of the records keeps the process alive, not this timer. */
  #startTimer(ms: number): NodeJS.Timeout {
    return setTimeout(() => {
      this.#isDue = true
      this.#start()
    }, ms).unref()
  }

  #start(): void {
    if (this.#running !== undefined || this.#end !== undefined) return
    if (!this.#isDue && !this.#pending.some(({ records }) => records <= this.#written)) return
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#isDue = false
    this.#started = this.#written
    this.#running = this.#commit().then(
      records => {
        this.#running = undefined
        this.#durable = Math.max(this.#durable, records)
        this.#listener.onCommit(records)
        this.#settle()
        this.#start()
      },
      (error: unknown) => this.#listener.onFailure(error), // no commit starts after a failed one
    )
  }

  /** Settles the calls whose outcome is known. */
  #settle(): void {
    const pending = this.#pending.splice(0)
    for (const call of pending) {
      if (call.records <= this.#durable) call.resolve()
      else if (this.#end !== undefined) call.reject(this.#end.error)
      else this.#pending.push(call)
    }
  }
}
