/**
 * Reads regions of an open file into reused buffers, since allocating the pages of a new buffer costs more
 * than filling it.
 */
import * as fs from 'node:fs'
import { promisify } from 'node:util'

const read = promisify(fs.read)

/** Size of a disk read and a socket write. The buffers of several parts fit the CPU cache. */
const READ_BYTES = 512 * 1024

const idleBuffers: Buffer[] = []
const MAX_IDLE_BUFFERS = 32

export class FileReader {
  readonly #fd: number
  readonly #damagedError: (message: string) => Error

  /** @param damagedError – creates the error for a file that ends too early */
  constructor(fd: number, damagedError: (message: string) => Error) {
    this.#fd = fd
    this.#damagedError = damagedError
  }

  /** Reads exactly `[start, start + size)` into a new buffer. */
  async read(start: number, size: number): Promise<Buffer> {
    const buffer = Buffer.allocUnsafe(size)
    await this.#fill(buffer, start)
    return buffer
  }

  /** Reads exactly `[start, start + size)`, in order; each chunk is valid until the next is requested. */
  async *chunks(start: number, size: number): AsyncGenerator<Buffer, void, undefined> {
    const buffer = idleBuffers.pop() ?? Buffer.allocUnsafeSlow(READ_BYTES)
    for (let done = 0; done < size; done += READ_BYTES) {
      const chunk = buffer.subarray(0, size - done)
      await this.#fill(chunk, start + done)
      yield chunk
    }
    // Not after a `break`: the socket may still hold the buffer then.
    if (idleBuffers.length < MAX_IDLE_BUFFERS) idleBuffers.push(buffer)
  }

  async #fill(buffer: Buffer, start: number): Promise<void> {
    for (let done = 0; done < buffer.length;) {
      const { bytesRead } = await read(this.#fd, buffer, done, buffer.length - done, start + done)
      if (bytesRead === 0) throw this.#damagedError(`The temp file ends at byte ${start + done}`)
      done += bytesRead
    }
  }
}
