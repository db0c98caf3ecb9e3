/** Throttles progress reports of one job to Redis: the latest one per second, and always the final one. */
import type { ProgressEvent } from '../index.js'

const JOB_PROGRESS_INTERVAL_MS = 1_000

export class ProgressThrottle {
  readonly #report: (event: ProgressEvent) => Promise<void>
  #latest: ProgressEvent | undefined
  #timer: NodeJS.Timeout | undefined
  #reporting: Promise<void> = Promise.resolve()

  /** @param report – stores an event; must not reject */
  constructor(report: (event: ProgressEvent) => Promise<void>) {
    this.#report = report
  }

  update(event: ProgressEvent): void {
    this.#latest = event
    this.#timer ??= setTimeout(() => this.#reportLatest(), JOB_PROGRESS_INTERVAL_MS).unref()
  }

  /** Reports the latest event. Resolves when it is stored. */
  async flush(): Promise<void> {
    this.#reportLatest()
    await this.#reporting
  }

  #reportLatest(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const event = this.#latest
    this.#latest = undefined
    if (event !== undefined) this.#reporting = this.#reporting.then(() => this.#report(event))
  }
}
