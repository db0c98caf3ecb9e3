/**
 * Drives a compressor or decompressor chunk by chunk: a chunk may be reused as soon as its write has resolved, and
 * no output is buffered here. One call at a time.
 */
import type { Duplex } from 'node:stream'

export class ByteTransform {
  readonly #stream: Duplex
  #error: Error | undefined
  /** Rejects the pending call. A stream that fails does not call back for the chunk that it was working on. */
  #reject: (error: Error) => void = () => {}

  /** @param onOutput – called with each chunk of the output, in order */
  constructor(stream: Duplex, onOutput: (chunk: Buffer) => void) {
    this.#stream = stream
    stream.on('data', onOutput)
    stream.on('error', error => {
      this.#error = error
      this.#reject(error)
    })
  }

  /** Resolves when the stream has consumed `chunk`. Its last output may follow later. */
  write(chunk: Uint8Array): Promise<void> {
    return this.#run((resolve, reject) => {
      this.#stream.write(chunk, error => {
        if (error) reject(error)
        else resolve()
      })
    })
  }

  /** Ends the input. Resolves after the last output. */
  end(): Promise<void> {
    return this.#run(resolve => {
      this.#stream.once('end', resolve).end()
    })
  }

  /** Frees the memory of a stream that is not needed any more. */
  destroy(): void {
    this.#stream.destroy()
  }

  #run(step: (resolve: () => void, reject: (error: Error) => void) => void): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#error !== undefined) return reject(this.#error)
      this.#reject = reject
      step(resolve, reject)
    })
  }
}
