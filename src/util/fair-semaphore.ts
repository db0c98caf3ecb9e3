/**
 * Fair semaphore. Invariants: at most `permits` are held, and a released permit goes to the waiting member that
 * holds the fewest, or among equals to the one whose last grant is oldest. A huge upload can therefore use all
 * permits that no other upload needs, and neither it nor many small uploads delay a member by more than one
 * grant to each of the others.
 */

/** One member's access to the semaphore. */
export interface FairShare {
  /**
   * Runs `step` while holding a permit. Does not wait for one if `signal` is aborted, because `step` then ends
   * by itself.
   */
  run<T>(signal: AbortSignal | undefined, step: () => Promise<T>): Promise<T>
}

interface Member {
  /** Number of permits held. */
  active: number
  /** Sequence number of its last grant, or of its creation. */
  lastGrant: number
}

interface QueuedRequest {
  readonly member: Member
  readonly start: () => void
}

export class FairSemaphore {
  #permits: number
  #active = 0
  #grants = 0
  #queue: QueuedRequest[] = []

  constructor(permits: number) {
    this.#permits = permits
  }

  /**
   * Adds a member.
   * @param minPermits – raises the number of permits to at least this many
   */
  share(minPermits = 1): FairShare {
    this.#permits = Math.max(this.#permits, minPermits)
    const member: Member = { active: 0, lastGrant: ++this.#grants }
    return {
      run: async (signal, step) => {
        await this.#acquire(member, signal)
        try {
          return await step()
        } finally {
          this.#release(member)
        }
      },
    }
  }

  async #acquire(member: Member, signal: AbortSignal | undefined): Promise<void> {
    if (this.#active < this.#permits || signal?.aborted === true) return this.#grant(member)
    await new Promise<void>(resolve => {
      const go = (): void => {
        signal?.removeEventListener('abort', go)
        this.#queue.splice(this.#queue.indexOf(waiter), 1)
        this.#grant(member)
        resolve()
      }
      const waiter: QueuedRequest = { member, start: go }
      signal?.addEventListener('abort', go, { once: true })
      this.#queue.push(waiter)
    })
  }

  #grant(member: Member): void {
    this.#active++
    member.active++
    member.lastGrant = ++this.#grants
  }

  #release(member: Member): void {
    this.#active--
    member.active--
    while (this.#active < this.#permits && this.#queue.length > 0) this.#next().start()
  }

  #next(): QueuedRequest {
    return this.#queue.reduce((best, waiter) =>
      isBefore(waiter.member, best.member) ? waiter : best,
    )
  }
}

function isBefore(a: Member, b: Member): boolean {
  return a.active < b.active || (a.active === b.active && a.lastGrant < b.lastGrant)
}
