/**
 * The body of a request on its way in: at the speed of the link, with the moments at which faults
 * strike, and with OSS's answer to a client that falls silent. It is read once, to its end; what an
 * operation leaves is drained, so that a client sees the answer rather than a reset.
 */
import type { IncomingMessage } from 'node:http'
import { OssError } from './oss-error.js'

/** What the reading of a body calls for. */
export interface RequestBodyHooks {
  /** Before the first byte is read (sends 100-continue if it was asked for). */
  onStart(): void
  /** After each chunk; waits for the link. */
  onChunk(bytes: number): Promise<void>
  /** At the mark within the body, or at its end; once. */
  onFaultOffset(): Promise<void>
  /** After the last byte; once. */
  onEnd(): Promise<void>
  /** After how many bytes `half` is due. */
  faultOffset(length: number): number
  /** ms to wait for the next byte. */
  readonly idleTimeout: number
}

/** The client went away before its request was complete. Nobody is left to be told. */
export class ClientDisconnectedError extends Error {}

/** A request's body. */
export class RequestBody {
  /** Content-Length; undefined when chunked. */
  readonly length: number | undefined
  /** False if the request announces none: no length, no chunks. */
  readonly isPresent: boolean
  #bytesRead = 0
  #ended = false
  #faultOffsetReached = false
  #endReached = false
  #started = false
  #timedOut = false
  #idleTimer: NodeJS.Timeout | undefined
  /** Ends the wait; between waits it ends none. */
  #resumeWait: (hasEvent: boolean) => void = () => {}
  readonly #expectsContinue: boolean
  readonly #request: IncomingMessage
  readonly #hooks: RequestBodyHooks

  constructor(request: IncomingMessage, hooks: RequestBodyHooks) {
    this.#request = request
    this.#hooks = hooks
    this.#expectsContinue = request.headers.expect !== undefined
    const length = request.headers['content-length']
    this.length = length === undefined ? undefined : Number(length)
    this.isPresent = length !== undefined || request.headers['transfer-encoding'] !== undefined
  }

  /** The bytes, as they come. */
  async *chunks(): AsyncGenerator<Buffer> {
    const hooks = this.#hooks
    this.#started = true
    hooks.onStart()
    const faultOffset = hooks.faultOffset(this.length ?? 0)
    for (;;) {
      const chunk = await this.#nextChunk()
      if (chunk === undefined) break
      await hooks.onChunk(chunk.length)
      this.#bytesRead += chunk.length
      if (this.#bytesRead >= faultOffset && faultOffset > 0) await this.#reachFaultOffset()
      yield chunk
    }
    this.#ended = true
    await this.reachEnd()
  }

  /** Nothing comes: none is announced, or one of no bytes (which `chunks` may still be asked for). */
  get isEmpty(): boolean {
    return !this.isPresent || this.length === 0
  }

  /** The moments of a body that is empty, or is over; once. */
  async reachEnd(): Promise<void> {
    await this.#reachFaultOffset()
    if (this.#endReached) return
    this.#endReached = true
    await this.#hooks.onEnd()
  }

  /** All of it, for XML bodies. 400 MalformedXML beyond `limit` bytes. */
  async readText(maxBytes: number): Promise<string> {
    const chunks: Buffer[] = []
    let size = 0
    for await (const chunk of this.chunks()) {
      size += chunk.length
      if (size > maxBytes) throw new OssError('MalformedXML')
      chunks.push(chunk)
    }
    return Buffer.concat(chunks).toString()
  }

  /**
   * Reads on to nowhere. A client that still waits for `100 Continue` will send nothing.
   * @returns false if the connection cannot be used again: more than `limit` bytes were left, or
   * nothing came any more
   */
  async drain(maxBytes: number): Promise<boolean> {
    if (this.#ended || !this.isPresent) return true
    if (this.#timedOut) return false
    if (this.#expectsContinue && !this.#started) return true
    let remaining = maxBytes
    for (;;) {
      const chunk = await this.#nextChunk()
      if (chunk === undefined) return (this.#ended = true)
      await this.#hooks.onChunk(chunk.length)
      remaining -= chunk.length
      if (remaining < 0) return false
    }
  }

  async #reachFaultOffset(): Promise<void> {
    if (this.#faultOffsetReached) return
    this.#faultOffsetReached = true
    await this.#hooks.onFaultOffset()
  }

  /** The next bytes, or undefined at the end. */
  async #nextChunk(): Promise<Buffer | undefined> {
    const request = this.#request
    for (;;) {
      if (request.destroyed && !request.readableEnded) throw new ClientDisconnectedError()
      if (request.readableEnded) return undefined
      // without an encoding a stream of bytes gives buffers
      const chunk = request.read() as Buffer | null
      if (chunk !== null) return chunk
      if (request.readableEnded) return undefined
      if (await this.#waitForEvent()) continue
      this.#timedOut = true
      throw new OssError('RequestTimeout')
    }
  }

  /** Waits until the stream has something to say; false if it stays silent for too long. */
  #waitForEvent(): Promise<boolean> {
    this.#idleTimer ??= this.#startIdleTimer()
    this.#idleTimer.refresh()
    return new Promise(resolve => {
      this.#resumeWait = resolve
    })
  }

  /** One timer and one set of listeners for all chunks: there are thousands. */
  #startIdleTimer(): NodeJS.Timeout {
    const timer = setTimeout(() => this.#resumeWait(false), this.#hooks.idleTimeout)
    for (const event of READ_EVENTS) this.#request.on(event, () => this.#resumeWait(true))
    this.#request.once('close', () => clearTimeout(timer))
    return timer
  }
}

const READ_EVENTS = ['readable', 'end', 'close', 'error'] as const
