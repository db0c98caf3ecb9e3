/**
 * Records that wait for each other: a compressor is called once per batch, not once per record. When a
 * batch is full depends on its records alone.
 */

/** Bytes (of texts: characters) that make a batch. */
const BATCH_BYTES = 64 * 1024

export class RecordBatch {
  #chunks: Buffer[] = []
  #text = ''
  #size = 0

  add(record: string | Uint8Array): void {
    this.#size += record.length
    if (typeof record === 'string') {
      this.#text += record
    } else {
      this.#closeText()
      // A view of the same memory.
      this.#chunks.push(Buffer.from(record.buffer, record.byteOffset, record.byteLength))
    }
  }

  get isFull(): boolean {
    return this.#size >= BATCH_BYTES
  }

  /** The batch, and begins the next one. */
  take(): readonly Buffer[] {
    this.#closeText()
    const chunks = this.#chunks
    this.#chunks = []
    this.#size = 0
    return chunks
  }

  #closeText(): void {
    if (this.#text === '') return
    this.#chunks.push(Buffer.from(this.#text))
    this.#text = ''
  }
}
