/**
 * Coalesces calls of a function. Runs never overlap. Calls made during a run share the next one, because the
 * current one may have started too early for them.
 */
export class Coalescer {
  readonly #work: () => Promise<void>
  #running: Promise<void> = Promise.resolve()
  #next: Promise<void> | undefined

  constructor(work: () => Promise<void>) {
    this.#work = work
  }

  /** Resolves when a run that started after this call has finished. Rejects with the error of that run. */
  run(): Promise<void> {
    return (this.#next ??= this.#running
      .catch(() => undefined) // reported to the callers of that run
      .then(() => {
        this.#next = undefined
        return (this.#running = this.#work())
      }))
  }

  /** Resolves when no run is in progress or pending. */
  async idle(): Promise<void> {
    let last: Promise<void> | undefined
    for (let now = this.#running; now !== last; now = this.#next ?? this.#running) {
      last = now
      await now.catch(() => undefined) // reported to the callers of that run
    }
  }
}
