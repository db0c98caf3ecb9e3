/**
 * Turns: how all who share a number of places take them. What always holds: no more are out than there
 * are places, and a place that becomes free goes to whoever has the fewest out, among equals to the one
 * whose last turn is longest ago. So a huge upload fills what nobody else wants, and neither it nor a
 * crowd of small ones keeps anyone waiting for more than one turn of each of the others.
 */

/** One member's part in the turns. */
export interface FairShare {
  /** Runs `step` when its turn comes, or at once when `signal` is aborted: then it ends by itself. */
  run<T>(signal: AbortSignal | undefined, step: () => Promise<T>): Promise<T>
}

interface Member {
  /** Turns that it has now. */
  active: number
  /** When it had its last one, or came: a count of such events. */
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

  constructor(places: number) {
    this.#permits = places
  }

  /** A new member; `most`: there are places for so many of its steps at least. */
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
