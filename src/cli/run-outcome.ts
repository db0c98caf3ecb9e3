/** Results and failures of one run, for its ping. */
import type { UploadResult } from '../upload/run/result.js'

/** Number of results, and of failures, that are kept. */
const MAX_KEPT = 100
/** Monitoring services store about 100 kB of a body. */
const MAX_BODY_BYTES = 64 * 1024

export class RunOutcome {
  readonly #results: UploadResult[] = []
  readonly #errors: object[] = []
  #count = 0

  addResult(result: UploadResult): void {
    this.#count++
    if (this.#results.length < MAX_KEPT) this.#results.push(result)
  }

  addError(error: object): void {
    this.#count++
    if (this.#errors.length < MAX_KEPT) this.#errors.push(error)
  }

  /**
   * Returns one JSON line that describes the run, as `schema/ping.schema.json` does. Leaves out the replies to
   * callbacks, which are for the caller only, and results before failures where there are too many.
   * @param elapsed – ms
   */
  toPingBody(command: string, status: number, elapsed: number): string {
    let results = this.#results.map(({ callback: _callback, ...result }) => result)
    let errors: readonly object[] = this.#errors
    for (;;) {
      const kept = results.length + errors.length
      const omitted = this.#count === kept ? {} : { omitted: this.#count - kept }
      const run = { command, status, elapsed: Math.round(elapsed) }
      const body = `${JSON.stringify({ ...run, results, errors, ...omitted })}\n`
      if (kept === 0 || Buffer.byteLength(body) <= MAX_BODY_BYTES) return body
      if (results.length > 0) results = results.slice(0, results.length >> 1)
      else errors = errors.slice(0, errors.length >> 1)
    }
  }
}
