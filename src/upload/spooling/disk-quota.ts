/**
 * Limits the disk space of a bounded spool (`maxSpoolBytes`). At the limit, ranges of the temp file whose
 * parts OSS has acknowledged (rule 4) are freed; if there are none, the writer waits for the network. Below
 * the limit, nothing is freed, since bytes on disk survive the loss of an upload id.
 */
import type { SpoolFile } from '../../disk/spool-file.js'
import { isFreed, addFreed, type FreedRanges } from '../model/freed-parts.js'
import type { Part } from '../model/plan.js'

/**
 * Free at least this fraction of the limit (1/8) at once, since each time costs a synced write. The part
 * being filled and the parts in flight never use up the rest, so this much always becomes freeable.
 */
const FREE_FRACTION = 8

/** No known file system has larger blocks, and only the last part may be smaller. */
const BLOCK_BYTES = 64 * 1024

export class DiskQuota {
  readonly #limit: number
  readonly #file: SpoolFile
  readonly #signal: AbortSignal
  readonly #saveFreed: (freed: FreedRanges) => Promise<void>
  #freed: FreedRanges
  /** Bytes of the parts in `#freed`. */
  #freedBytes: number
  #acknowledged: Part[] = []
  /** Positions whose parts are not freed: an object that ends there needs a shorter part. */
  #held: readonly number[] = []
  #notify: () => void = () => {}

  /**
   * @param limit – bytes of the temp file that may be on disk
   * @param freed – parts freed by an earlier run
   * @param saveFreed – makes the freed parts durable, so that no process mistakes a hole for bytes
   * @param signal – aborts waiting
   */
  constructor(
    limit: number,
    file: SpoolFile,
    freed: readonly Part[],
    saveFreed: (freed: FreedRanges) => Promise<void>,
    signal: AbortSignal,
  ) {
    this.#limit = limit
    this.#file = file
    this.#freed = addFreed([], freed)
    this.#freedBytes = freed.reduce((sum, { size }) => sum + size, 0)
    this.#saveFreed = saveFreed
    this.#signal = signal
    signal.addEventListener('abort', () => this.#notify(), { once: true })
  }

  /** Records that OSS has this part. */
  acknowledge(part: Part): void {
    if (isFreed(this.#freed, part.number)) return
    this.#acknowledged.push(part)
    this.#notify()
  }

  /** Withdraws all acknowledgements: the upload id may be gone. */
  reset(): void {
    this.#acknowledged = []
  }

  /** Keeps the part that contains `position` on this disk, because a commit may end there. */
  hold(position: number): void {
    this.#held = [...this.#held, position]
  }

  /** Records that a commit at `position` is durable, so that earlier ones are no longer needed. */
  releaseBefore(position: number): void {
    this.#held = this.#held.filter(each => each >= position)
    this.#notify()
  }

  /**
   * Resolves with the number of bytes (at least 1) that may be appended now to a temp file of `size` bytes.
   * Rejects when the upload is aborted.
   */
  async reserve(size: number): Promise<number> {
    for (;;) {
      this.#signal.throwIfAborted()
      const available = this.#limit - (size - this.#freedBytes)
      if (available > 0) return available
      const parts = this.#acknowledged.filter(part => !this.#isHeld(part))
      const bytes = parts.reduce((sum, { size: partSize }) => sum + partSize, 0)
      if (bytes >= this.#limit / FREE_FRACTION) await this.#free(parts)
      else await this.#waitForAck()
    }
  }

  /** Frees acknowledged parts. Saves this first, since only OSS has their bytes afterwards. */
  async #free(parts: readonly Part[]): Promise<void> {
    this.#acknowledged = this.#acknowledged.filter(part => !parts.includes(part))
    this.#freed = addFreed(this.#freed, parts)
    await this.#saveFreed(this.#freed)
    for (const { number, start, size } of parts) {
      // A block shared by two parts is freed with the second one.
      const from = isFreed(this.#freed, number - 1) ? start - (start % BLOCK_BYTES) : start
      const end = start + size
      const to = isFreed(this.#freed, number + 1) ? Math.ceil(end / BLOCK_BYTES) * BLOCK_BYTES : end
      await this.#file.free(from, to)
      this.#freedBytes += size
    }
  }

  #isHeld({ start, size }: Part): boolean {
    return this.#held.some(position => start < position && position < start + size)
  }

  #waitForAck(): Promise<void> {
    return new Promise(resolve => {
      this.#notify = resolve
    })
  }
}

/** Splits `chunks` into the first `size` bytes and the rest. */
export function splitAt(
  chunks: readonly Uint8Array[],
  size: number,
): [readonly Uint8Array[], readonly Uint8Array[]] {
  let left = size
  for (const [i, chunk] of chunks.entries()) {
    if (chunk.length > left) {
      const first = [...chunks.slice(0, i), chunk.subarray(0, left)]
      return [first, [chunk.subarray(left), ...chunks.slice(i + 1)]]
    }
    left -= chunk.length
  }
  return [chunks, []]
}
