/**
 * Groups records into batches, so that a compressor is called once per batch instead of once per record. Batch
 * boundaries depend on the records alone. Records are copied, since many open objects hold theirs for long: a
 * record may be a small slice of a large chunk.
 */

/** Size of a full batch in bytes. */
const BATCH_BYTES = 64 * 1024

/** Capacity for the first records of an object. */
const MIN_CAPACITY = 1024

/** Capacity for a full batch, with room for the record that fills it. */
const MAX_CAPACITY = BATCH_BYTES + 4096

/** UTF-8 bytes of one UTF-16 code unit, at most. */
const MAX_BYTES_PER_CHARACTER = 3

export class RecordBatch {
  #buffer = Buffer.alloc(0)
  #size = 0
  /** An object that has filled a batch fills the next one, too. */
  #capacity = MIN_CAPACITY

  /** @returns the size of the record in bytes */
  add(record: string | Uint8Array): number {
    const start = this.#size
    if (typeof record === 'string') {
      // Measuring a text costs as much as writing it.
      const isSureToFit = record.length * MAX_BYTES_PER_CHARACTER <= this.#buffer.length - start
      if (!isSureToFit) this.#reserve(Buffer.byteLength(record))
      this.#size += this.#buffer.write(record, start)
    } else {
      this.#reserve(record.length)
      this.#buffer.set(record, start)
      this.#size += record.length
    }
    return this.#size - start
  }

  get isFull(): boolean {
    return this.#size >= BATCH_BYTES
  }

  /** Returns the bytes of the current batch, if it has any, and starts a new one. */
  take(): readonly Buffer[] {
    const chunks = this.#size === 0 ? [] : [this.#buffer.subarray(0, this.#size)]
    this.#buffer = Buffer.alloc(0)
    this.#size = 0
    return chunks
  }

  #reserve(bytes: number): void {
    const needed = this.#size + bytes
    if (needed <= this.#buffer.length) return
    while (this.#capacity < Math.min(needed, MAX_CAPACITY)) this.#capacity *= 2
    this.#capacity = Math.min(this.#capacity, MAX_CAPACITY)
    const buffer = Buffer.allocUnsafeSlow(Math.max(needed, this.#capacity))
    this.#buffer.copy(buffer, 0, 0, this.#size)
    this.#buffer = buffer
  }
}
