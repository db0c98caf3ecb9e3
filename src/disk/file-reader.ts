/**
 * Reads regions of an open file into reused buffers, since allocating the pages of a new buffer costs more
 * than filling it.
 */
import * as fs from 'node:fs'
import { promisify } from 'node:util'

const read = promisify(fs.read)

/** Size of a disk read and a socket write. The buffers of several parts fit the CPU cache. */
const READ_BYTES = 512 * 1024

/** Regions up to this size share a disk read with the ones after them. */
const MAX_SHARED_BYTES = READ_BYTES / 2

const idleBuffers: Buffer[] = []
const MAX_IDLE_BUFFERS = 32

/** One disk read for several small regions, which are requested in order. */
interface SharedRead {
  readonly buffer: Buffer
  readonly start: number
  readonly end: number
  /** Whether the whole of it could be read. */
  readonly succeeded: Promise<boolean>
  /** Start of the next region. A region before it, such as that of a retry, is read anew. */
  next: number
  /** Regions in use. */
  users: number
}

export class FileReader {
  readonly #fd: number
  readonly #damagedError: (message: string) => Error
  #sharedRead: SharedRead | undefined

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

  /**
   * Reads exactly `[start, start + size)`, in order; each chunk is valid until the next is requested.
   * @param available – bytes of the file that may be read ahead
   */
  chunks(start: number, size: number, available: number): AsyncGenerator<Buffer, void, undefined> {
    const isShared = size <= MAX_SHARED_BYTES && start + size <= available
    return isShared ? this.#small(start, size, available) : this.#large(start, size)
  }

  /** Forgets bytes that were read ahead, since the file is about to change. */
  forget(): void {
    this.#sharedRead = undefined
  }

  async *#large(start: number, size: number): AsyncGenerator<Buffer, void, undefined> {
    const buffer = takeBuffer()
    for (let done = 0; done < size; done += READ_BYTES) {
      const chunk = buffer.subarray(0, size - done)
      await this.#fill(chunk, start + done)
      yield chunk
    }
    // Not after a `break`: the socket may still hold the buffer then.
    returnBuffer(buffer)
  }

  /** A round trip to a thread takes longer than reading a small region, so one serves several regions. */
  async *#small(
    start: number,
    size: number,
    available: number,
  ): AsyncGenerator<Buffer, void, undefined> {
    const last = this.#sharedRead
    const shared =
      last !== undefined && last.next === start && start + size <= last.end
        ? last
        : this.#startSharedRead(start, Math.min(start + READ_BYTES, available))
    shared.next += size
    shared.users++
    const chunk = shared.buffer.subarray(start - shared.start, start - shared.start + size)
    // If a later byte could not be read, this region may still be intact.
    if (await shared.succeeded) yield chunk
    else yield* this.#large(start, size)
    shared.users-- // not after a `break`, as above
    if (shared.users === 0 && shared !== this.#sharedRead) returnBuffer(shared.buffer)
  }

  #startSharedRead(start: number, end: number): SharedRead {
    const last = this.#sharedRead
    if (last?.users === 0) returnBuffer(last.buffer)
    const buffer = takeBuffer()
    const succeeded = this.#fill(buffer.subarray(0, end - start), start).then(
      () => true,
      () => false,
    )
    return (this.#sharedRead = { buffer, start, end, succeeded, next: start, users: 0 })
  }

  async #fill(buffer: Buffer, start: number): Promise<void> {
    for (let done = 0; done < buffer.length;) {
      const { bytesRead } = await read(this.#fd, buffer, done, buffer.length - done, start + done)
      if (bytesRead === 0) throw this.#damagedError(`The temp file ends at byte ${start + done}`)
      done += bytesRead
    }
  }
}

function takeBuffer(): Buffer {
  return idleBuffers.pop() ?? Buffer.allocUnsafeSlow(READ_BYTES)
}

function returnBuffer(buffer: Buffer): void {
  if (idleBuffers.length < MAX_IDLE_BUFFERS) idleBuffers.push(buffer)
}
