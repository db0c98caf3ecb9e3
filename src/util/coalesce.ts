/**
 * Work that serves all who asked before it began: runs never overlap, and those who ask while one is
 * under way, which may have begun too early for them, share the next.
 */
export class Coalescer {
  readonly #work: () => Promise<void>
  #running: Promise<void> = Promise.resolve()
  #next: Promise<void> | undefined

  constructor(work: () => Promise<void>) {
    this.#work = work
  }

  /** Resolves when a run that began after this call is over; rejects with what that run failed with. */
  run(): Promise<void> {
    return (this.#next ??= this.#running
      .catch(() => undefined) // told to those who waited for it
      .then(() => {
        this.#next = undefined
        return (this.#running = this.#work())
      }))
  }

  /** Resolves when no run is under way any more. */
  async idle(): Promise<void> {
    let last: Promise<void> | undefined
    for (let now = this.#running; now !== last; now = this.#next ?? this.#running) {
      last = now
      await now.catch(() => undefined) // told to those who waited for it
    }
  }
}
