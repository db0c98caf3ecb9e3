/**
 * Those who wait for bytes under a rate limit. What always holds: first come, first served, and whoever
 * is aborted keeps nobody behind him.
 */
interface Waiter {
  readonly bytes: number
  readonly grant: () => void
}

export class WaitQueue {
  #waiters: Waiter[] = []

  /** Bytes that the first one wants; `undefined`: nobody waits. */
  get nextBytes(): number | undefined {
    return this.#waiters[0]?.bytes
  }

  /**
   * Resolves when it is this one's turn, or when `signal` was aborted.
   * @param onLeave called in the latter case: the next one may want less
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

  /** Lets the first one go. */
  grantNext(): void {
    this.#waiters.shift()?.grant()
  }
}
