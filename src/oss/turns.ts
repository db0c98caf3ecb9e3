/**
 * Turns: how all who share a number of places take them. What always holds: no more are out than there
 * are places, and a place that becomes free goes to whoever has the fewest out, among equals to the one
 * whose last turn is longest ago. So a huge upload fills what nobody else wants, and neither it nor a
 * crowd of small ones keeps anyone waiting for more than one turn of each of the others.
 */

/** One member's part in the turns. */
export interface Share {
  /** Runs `step` when its turn comes, or at once when `signal` is aborted: then it ends by itself. */
  take<T>(signal: AbortSignal | undefined, step: () => Promise<T>): Promise<T>
}

interface Member {
  /** Turns that it has now. */
  out: number
  /** When it had its last one, or came: a count of such events. */
  last: number
}

interface Waiter {
  readonly member: Member
  readonly go: () => void
}

export class Turns {
  #places: number
  #taken = 0
  #count = 0
  #waiting: Waiter[] = []

  constructor(places: number) {
    this.#places = places
  }

  /** A new member; `most`: there are places for so many of its steps at least. */
  share(most = 1): Share {
    this.#places = Math.max(this.#places, most)
    const member: Member = { out: 0, last: ++this.#count }
    return {
      take: async (signal, step) => {
        await this.#enter(member, signal)
        try {
          return await step()
        } finally {
          this.#leave(member)
        }
      },
    }
  }

  async #enter(member: Member, signal: AbortSignal | undefined): Promise<void> {
    if (this.#taken < this.#places || signal?.aborted === true) return this.#grant(member)
    await new Promise<void>(resolve => {
      const go = (): void => {
        signal?.removeEventListener('abort', go)
        this.#waiting.splice(this.#waiting.indexOf(waiter), 1)
        this.#grant(member)
        resolve()
      }
      const waiter: Waiter = { member, go }
      signal?.addEventListener('abort', go, { once: true })
      this.#waiting.push(waiter)
    })
  }

  #grant(member: Member): void {
    this.#taken++
    member.out++
    member.last = ++this.#count
  }

  #leave(member: Member): void {
    this.#taken--
    member.out--
    while (this.#taken < this.#places && this.#waiting.length > 0) this.#next().go()
  }

  #next(): Waiter {
    return this.#waiting.reduce((best, waiter) =>
      isBefore(waiter.member, best.member) ? waiter : best,
    )
  }
}

function isBefore(a: Member, b: Member): boolean {
  return a.out < b.out || (a.out === b.out && a.last < b.last)
}
