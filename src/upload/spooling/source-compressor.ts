/** Compresses the bytes of a source on their way into the spool, and describes them as they were before. */
import { createHash, type Hash } from 'node:crypto'
import { Crc64 } from '../../crc64.js'
import type { CompressedSource } from '../../disk/checkpoint.js'
import { ByteTransform } from '../../util/byte-transform.js'
import {
  createCompressor,
  type Compression,
  type CompressionFormat,
} from '../../util/compression.js'
import { errorMessage } from '../../util/error-shape.js'
import { updateHash } from '../../util/update-hash.js'
import type { Expectation } from '../model/expectation.js'

/** The compressor failed, for example for lack of memory. */
export class CompressionFailedError extends Error {
  override readonly name = 'CompressionFailedError'
}

export class SourceCompressor {
  readonly #format: CompressionFormat
  readonly #transform: ByteTransform
  /** Compressed bytes that no call has returned yet. */
  #output: Buffer[] = []
  #size = 0
  readonly #crc = new Crc64()
  readonly #hashes: readonly [name: 'md5' | 'sha256', hash: Hash][]

  /** @param expect – its digests are computed; size and CRC64 always are */
  constructor(compression: Compression, expect: Expectation) {
    this.#format = compression.format
    this.#transform = new ByteTransform(
      createCompressor(compression),
      chunk => void this.#output.push(chunk),
    )
    const names = (['md5', 'sha256'] as const).filter(name => expect[name] !== undefined)
    this.#hashes = names.map(name => [name, createHash(name)])
  }

  /** Bytes of the source so far. */
  get size(): number {
    return this.#size
  }

  /** Compresses `chunks`. Resolves to the output that is ready, which may be none. */
  async write(chunks: readonly Uint8Array[]): Promise<Buffer[]> {
    for (const chunk of chunks) {
      const writing = this.#transform.write(chunk) // in another thread
      this.#size += chunk.length
      this.#crc.update(chunk)
      for (const [, hash] of this.#hashes) updateHash(hash, chunk)
      await writing.catch((error: unknown) => this.#fail(error))
    }
    return this.#takeOutput()
  }

  /** Ends the source. Resolves to the rest of the output. */
  async end(): Promise<Buffer[]> {
    await this.#transform.end().catch((error: unknown) => this.#fail(error))
    return this.#takeOutput()
  }

  /** Describes the source after its end. Call once. */
  describe(): CompressedSource {
    return {
      compression: this.#format,
      size: this.#size,
      crc64: String(this.#crc.digest()),
      ...Object.fromEntries(this.#hashes.map(([name, hash]) => [name, hash.digest('hex')])),
    }
  }

  /** Frees the memory of the compressor. */
  destroy(): void {
    this.#transform.destroy()
  }

  #takeOutput(): Buffer[] {
    const output = this.#output
    this.#output = []
    return output
  }

  #fail(cause: unknown): never {
    const message = `compressing it with ${this.#format} failed: ${errorMessage(cause)}`
    throw new CompressionFailedError(message, { cause })
  }
}
