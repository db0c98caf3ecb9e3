/** Progress of one job on its way to Redis: the latest once a second, and the last one in any case. */
import type { ProgressEvent } from '../index.js'

const INTERVAL = 1_000

export class Told {
  readonly #tell: (event: ProgressEvent) => Promise<void>
  #latest: ProgressEvent | undefined
  #timer: NodeJS.Timeout | undefined
  #telling: Promise<void> = Promise.resolve()

  /** @param tell must not reject */
  constructor(tell: (event: ProgressEvent) => Promise<void>) {
    this.#tell = tell
  }

  update(event: ProgressEvent): void {
    this.#latest = event
    this.#timer ??= setTimeout(() => this.#send(), INTERVAL).unref()
  }

  /** Resolves when the last one is told. */
  async end(): Promise<void> {
    this.#send()
    await this.#telling
  }

  #send(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const event = this.#latest
    this.#latest = undefined
    if (event !== undefined) this.#telling = this.#telling.then(() => this.#tell(event))
  }
}
