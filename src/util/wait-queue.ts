/**
 * FIFO queue of waiters for bytes under a rate limit. Invariant: an aborted waiter never blocks those behind it.
 */
interface Waiter {
  readonly bytes: number
  readonly grant: () => void
}

export class WaitQueue {
  #waiters: Waiter[] = []

  /** Bytes requested by the first waiter; `undefined` if the queue is empty. */
  get nextBytes(): number | undefined {
    return this.#waiters[0]?.bytes
  }

  /**
   * Waits at the end of the queue. Resolves when granted, or when `signal` is aborted.
   * @param onLeave – called on abort, because the next waiter may need fewer bytes
   */
  async join(bytes: number, signal: AbortSignal, onLeave: () => void): Promise<void> {
    await new Promise<void>(resolve => {
      const leave = (): void => {
        this.#waiters = this.#waiters.filter(other => other !== waiter)
        onLeave()
        resolve()
      }
      const waiter: Waiter = {
        bytes,
        grant: () => {
          signal.removeEventListener('abort', leave)
          resolve()
        },
      }
      signal.addEventListener('abort', leave, { once: true })
      this.#waiters.push(waiter)
    })
  }

  /** Grants the first waiter and removes it. */
  grantNext(): void {
    this.#waiters.shift()?.grant()
  }
}
