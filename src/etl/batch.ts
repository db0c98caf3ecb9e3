/**
 * Records that wait for each other: a compressor is called once per batch, not once per record. When a
 * batch is full depends on its records alone.
 */

/** Bytes (of texts: characters) that make a batch. */
const FULL = 64 * 1024

export class Batch {
  #chunks: Buffer[] = []
  #text = ''
  #waiting = 0

  add(record: string | Uint8Array): void {
    this.#waiting += record.length
    if (typeof record === 'string') {
      this.#text += record
    } else {
      this.#close()
      // A view of the same memory.
      this.#chunks.push(Buffer.from(record.buffer, record.byteOffset, record.byteLength))
    }
  }

  get isFull(): boolean {
    return this.#waiting >= FULL
  }

  /** The batch, and begins the next one. */
  take(): readonly Buffer[] {
    this.#close()
    const chunks = this.#chunks
    this.#chunks = []
    this.#waiting = 0
    return chunks
  }

  #close(): void {
    if (this.#text === '') return
    this.#chunks.push(Buffer.from(this.#text))
    this.#text = ''
  }
}
