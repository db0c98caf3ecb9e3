/**
 * The room of a bounded spool: how many bytes may still be written to the temp file. When there is
 * none, ranges whose parts OSS has acknowledged (rule 4) are given back to the disk; when there are
 * none of those either, whoever writes waits for the network. As long as there is room everything is
 * kept, since what is on this disk survives the loss of an upload id.
 */
import type { TempFile } from '../disk/temp-file.js'
import { isFreed, addFreed, type FreedRanges } from './freed-parts.js'
import type { Part } from './plan.js'

/**
 * At least this fraction of the limit is given back at a time, since each time costs a synced write.
 * Parts in flight and the one being filled are never all the rest, so it comes together in the end.
 */
const FREE_FRACTION = 8

/** No file system has larger blocks, and no part but the last is smaller. */
const BLOCK_BYTES = 64 * 1024

export class DiskQuota {
  readonly #limit: number
  readonly #file: TempFile
  readonly #signal: AbortSignal
  readonly #saveFreed: () => Promise<void>
  #freed: FreedRanges
  /** Bytes of the parts in `#freed`. */
  #freedBytes: number
  #acknowledged: Part[] = []
  /** Bytes of those. */
  #freeableBytes = 0
  #notify: () => void = () => {}

  /**
   * @param limit bytes of the temp file that may be on the disk
   * @param gone parts that an earlier run has freed
   * @param writeDown makes `freed` durable: a hole must never be taken for bytes, by any process
   * @param signal ends the wait
   */
  constructor(
    limit: number,
    file: TempFile,
    gone: readonly Part[],
    writeDown: () => Promise<void>,
    signal: AbortSignal,
  ) {
    this.#limit = limit
    this.#file = file
    this.#freed = addFreed([], gone)
    this.#freedBytes = gone.reduce((sum, { size }) => sum + size, 0)
    this.#saveFreed = writeDown
    this.#signal = signal
    signal.addEventListener('abort', () => this.#notify(), { once: true })
  }

  /** Parts whose bytes are not in the temp file any more, or will not be in a moment. */
  get freed(): FreedRanges {
    return this.#freed
  }

  /** OSS has this part. */
  acknowledge(part: Part): void {
    if (isFreed(this.#freed, part.number)) return
    this.#acknowledged.push(part)
    this.#freeableBytes += part.size
    this.#notify()
  }

  /** What OSS had it may not have any more. */
  reset(): void {
    this.#acknowledged = []
    this.#freeableBytes = 0
  }

  /**
   * Resolves with the number of bytes that may be written now, at least 1, to a temp file of `size`
   * bytes. Rejects when the upload is stopped.
   */
  async reserve(size: number): Promise<number> {
    for (;;) {
      this.#signal.throwIfAborted()
      const room = this.#limit - (size - this.#freedBytes)
      if (room > 0) return room
      if (this.#freeableBytes >= this.#limit / FREE_FRACTION) await this.#free()
      else await this.#waitForAck()
    }
  }

  /** Written down first: from here on only OSS has these bytes. */
  async #free(): Promise<void> {
    const parts = this.#acknowledged
    this.reset()
    this.#freed = addFreed(this.#freed, parts)
    await this.#saveFreed()
    for (const { number, start, size } of parts) {
      // The block in which two parts meet goes with the second of them.
      const from = isFreed(this.#freed, number - 1) ? start - (start % BLOCK_BYTES) : start
      const end = start + size
      const to = isFreed(this.#freed, number + 1) ? Math.ceil(end / BLOCK_BYTES) * BLOCK_BYTES : end
      await this.#file.free(from, to)
      this.#freedBytes += size
    }
  }

  #waitForAck(): Promise<void> {
    return new Promise(resolve => {
      this.#notify = resolve
    })
  }
}

/** The first `size` bytes, and the rest. */
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
