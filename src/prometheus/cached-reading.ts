/**
 * A reading that all scrapes within a few seconds share. Invariant: at most one read is in progress, so an unreachable
 * Redis does not collect commands that wait for it.
 */
export class CachedReading<T> {
  readonly #read: () => Promise<T>
  readonly #maxAge: number
  readonly #timeout: number
  #current: Promise<T | undefined> | undefined

  /**
   * @param maxAge – ms for which a reading is used
   * @param timeout – ms to wait for a reading
   */
  constructor(read: () => Promise<T>, { maxAge, timeout }: { maxAge: number; timeout: number }) {
    this.#read = read
    this.#maxAge = maxAge
    this.#timeout = timeout
  }

  /** Resolves to a recent reading, or to `undefined` if reading fails or takes too long. Never rejects. */
  get(): Promise<T | undefined> {
    return (this.#current ??= this.#start())
  }

  #start(): Promise<T | undefined> {
    const reading = this.#read().catch(() => undefined)
    void reading.then(() => {
      setTimeout(() => (this.#current = undefined), this.#maxAge).unref()
    })
    let timer: NodeJS.Timeout | undefined
    const timedOut = new Promise<undefined>(resolve => {
      timer = setTimeout(resolve, this.#timeout, undefined)
    })
    return Promise.race([reading, timedOut]).finally(() => clearTimeout(timer))
  }
}
