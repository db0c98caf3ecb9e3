/**
 * Turns: how all who share a number of places take them. What always holds: no more are out than there
 * are places, and a place that becomes free goes to whoever has the fewest out, among equals to the one
 * who has waited longest. So a huge upload fills what nobody else wants, and between two turns of one
 * upload each other one that waits had its own.
 */

interface Waiter {
  readonly share: Share
  readonly go: () => void
}

/** One member's part in the turns. */
export interface Share {
  /** Runs `step` when its turn comes, or at once when `signal` is aborted: then it ends by itself. */
  take<T>(signal: AbortSignal | undefined, step: () => Promise<T>): Promise<T>
}

/** How many steps of a share are out now. */
type Out = Map<Share, number>

export class Turns {
  #places: number
  #taken = 0
  readonly #out: Out = new Map()
  #waiting: Waiter[] = []

  constructor(places: number) {
    this.#places = places
  }

  /** A new member; `most`: there are places for so many of its steps at least. */
  share(most = 1): Share {
    this.#places = Math.max(this.#places, most)
    const share: Share = {
      take: async (signal, step) => {
        await this.#enter(share, signal)
        try {
          return await step()
        } finally {
          this.#leave(share)
        }
      },
    }
    return share
  }

  async #enter(share: Share, signal: AbortSignal | undefined): Promise<void> {
    if (this.#taken < this.#places || signal?.aborted === true) return this.#grant(share)
    await new Promise<void>(resolve => {
      const go = (): void => {
        signal?.removeEventListener('abort', go)
        this.#waiting = this.#waiting.filter(other => other !== waiter)
        this.#grant(share)
        resolve()
      }
      const waiter: Waiter = { share, go }
      signal?.addEventListener('abort', go, { once: true })
      this.#waiting.push(waiter)
    })
  }

  #grant(share: Share): void {
    this.#taken++
    this.#out.set(share, this.#outOf(share) + 1)
  }

  #leave(share: Share): void {
    this.#taken--
    const left = this.#outOf(share) - 1
    if (left > 0) this.#out.set(share, left)
    else this.#out.delete(share)
    while (this.#taken < this.#places && this.#waiting.length > 0) this.#next().go()
  }

  /** The first of those with the fewest out. */
  #next(): Waiter {
    return this.#waiting.reduce((best, waiter) =>
      this.#outOf(waiter.share) < this.#outOf(best.share) ? waiter : best,
    )
  }

  #outOf(share: Share): number {
    return this.#out.get(share) ?? 0
  }
}
