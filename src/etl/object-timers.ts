/** Timers that end an object: by its age, and by the time since its latest record. */

/** When an object ends without another record, in ms. */
export interface TimeLimits {
  /** From its first record. */
  readonly ms: number | undefined
  /** From its latest record. */
  readonly idleMs: number | undefined
}

export class ObjectTimers {
  readonly #age: NodeJS.Timeout | undefined
  readonly #idle: NodeJS.Timeout | undefined
  #isOld = false
  #isIdle = false

  /** @param onDue – called when a limit is reached; `isDue` may have changed by the time it acts */
  constructor({ ms, idleMs }: TimeLimits, onDue: () => void) {
    this.#age = startTimer(ms, () => {
      this.#isOld = true
      onDue()
    })
    this.#idle = startTimer(idleMs, () => {
      this.#isIdle = true
      onDue()
    })
  }

  /** Whether the object has to end. */
  get isDue(): boolean {
    return this.#isOld || this.#isIdle
  }

  /** The object got a record. */
  refresh(): void {
    if (this.#idle === undefined) return
    this.#isIdle = false
    this.#idle.refresh()
  }

  clear(): void {
    clearTimeout(this.#age)
    clearTimeout(this.#idle)
  }
}

/** Unref'd: pending writes keep the process alive, not these timers. */
function startTimer(ms: number | undefined, onTimeout: () => void): NodeJS.Timeout | undefined {
  return ms === undefined ? undefined : setTimeout(onTimeout, ms).unref()
}
