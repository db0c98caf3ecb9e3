/**
 * Groups records into batches, so that a compressor is called once per batch instead of once per record.
 * Batch boundaries depend on the records alone.
 */

/** Size of a full batch in bytes, or in characters for string records. */
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
      // Shares memory with the record.
      this.#chunks.push(Buffer.from(record.buffer, record.byteOffset, record.byteLength))
    }
  }

  get isFull(): boolean {
    return this.#size >= BATCH_BYTES
  }

  /** Returns the current batch and starts a new one. */
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
