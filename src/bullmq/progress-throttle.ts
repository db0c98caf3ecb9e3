/** Progress of one job on its way to Redis: the latest once a second, and the last one in any case. */
import type { ProgressEvent } from '../index.js'

const JOB_PROGRESS_INTERVAL_MS = 1_000

export class ProgressThrottle {
  readonly #report: (event: ProgressEvent) => Promise<void>
  #latest: ProgressEvent | undefined
  #timer: NodeJS.Timeout | undefined
  #reporting: Promise<void> = Promise.resolve()

  /** @param report must not reject */
  constructor(report: (event: ProgressEvent) => Promise<void>) {
    this.#report = report
  }

  update(event: ProgressEvent): void {
    this.#latest = event
    this.#timer ??= setTimeout(() => this.#reportLatest(), JOB_PROGRESS_INTERVAL_MS).unref()
  }

  /** Resolves when the last one is told. */
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
