/**
 * Splits a stream of bytes into lines, without decoding them. A line includes its newline, and a carriage return
 * before that. Lines share the memory of the chunks, unless they cross the end of one.
 */

const NEWLINE = 0x0a

/** A line was longer than the limit of the splitter. */
export class LineTooLongError extends Error {
  override readonly name = 'LineTooLongError'
  readonly code = 'ERR_LINE_TOO_LONG'

  constructor(maxBytes: number) {
    super(`a line is longer than ${maxBytes} bytes`)
  }
}

export class LineSplitter {
  readonly #maxBytes: number
  /** Chunks of the incomplete line. */
  #rest: Buffer[] = []
  #restBytes = 0

  /** @param maxBytes – limit of a line, which is held in memory until it is complete */
  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  /** Whether the bytes so far end within a line. */
  get isWithinLine(): boolean {
    return this.#restBytes > 0
  }

  /**
   * Returns the lines that `chunk` completes.
   * @throws LineTooLongError
   */
  push(chunk: Buffer): Buffer[] {
    const lines: Buffer[] = []
    let start = 0
    for (;;) {
      const newlineIndex = chunk.indexOf(NEWLINE, start)
      const end = newlineIndex < 0 ? chunk.length : newlineIndex + 1
      if (this.#restBytes + end - start > this.#maxBytes) throw new LineTooLongError(this.#maxBytes)
      if (newlineIndex < 0) break
      lines.push(this.#complete(chunk.subarray(start, end)))
      start = end
    }
    if (start < chunk.length) {
      this.#rest.push(chunk.subarray(start))
      this.#restBytes += chunk.length - start
    }
    return lines
  }

  /** Returns the unterminated last line, if there is one. */
  end(): Buffer[] {
    return this.isWithinLine ? [this.#complete(Buffer.alloc(0))] : []
  }

  #complete(end: Buffer): Buffer {
    if (!this.isWithinLine) return end
    const line = Buffer.concat([...this.#rest, end])
    this.#rest = []
    this.#restBytes = 0
    return line
  }
}
