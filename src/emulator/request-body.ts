/**
 * The incoming body of a request: paced by the link, with hooks for faults and with OSS's idle timeout.
 * It is read once, to its end. The part that an operation leaves unread is drained, so that the client
 * receives the reply rather than a reset.
 */
import type { IncomingMessage } from 'node:http'
import { OssError } from './oss-error.js'

/** Hooks called while a body is read. */
export interface RequestBodyHooks {
  /** Called before the first byte is read (sends `100 Continue` if requested). */
  onStart(): void
  /** Called after each chunk; resolves when the link allows the next one. */
  onChunk(bytes: number): Promise<void>
  /** Called before the first byte, after each chunk and at the end, with the number of bytes out of `total`. */
  onProgress(bytes: number, total: number): Promise<void>
  /** Called once, after the last byte. */
  onEnd(): Promise<void>
  /** Maximum wait for the next byte, in ms. */
  readonly idleTimeout: number
}

/** The client disconnected before its request was complete, so there is no one to reply to. */
export class ClientDisconnectedError extends Error {}

/** The body of a request. */
export class RequestBody {
  /** Content-Length; undefined when chunked. */
  readonly length: number | undefined
  /** False if the request has neither a length nor chunked encoding. */
  readonly isPresent: boolean
  #bytesRead = 0
  #ended = false
  #endReached = false
  #started = false
  #timedOut = false
  #idleTimer: NodeJS.Timeout | undefined
  /** Ends the current wait; a no-op between waits. */
  #resumeWait: (hasEvent: boolean) => void = () => {}
  readonly #expectsContinue: boolean
  readonly #request: IncomingMessage
  readonly #hooks: RequestBodyHooks

  constructor(request: IncomingMessage, hooks: RequestBodyHooks) {
    this.#request = request
    this.#hooks = hooks
    this.#expectsContinue = request.headers.expect !== undefined
    const length = request.headers['content-length']
    const isChunked = request.headers['transfer-encoding'] !== undefined // wins over a length
    this.length = length === undefined || isChunked ? undefined : Number(length)
    this.isPresent = length !== undefined || isChunked
  }

  /** Yields the bytes as they arrive. */
  async *chunks(): AsyncGenerator<Buffer> {
    const hooks = this.#hooks
    this.#started = true
    hooks.onStart()
    const total = this.length ?? Number.POSITIVE_INFINITY
    await hooks.onProgress(0, total)
    for (;;) {
      const chunk = await this.#nextChunk()
      if (chunk === undefined) break
      await hooks.onChunk(chunk.length)
      this.#bytesRead += chunk.length
      await hooks.onProgress(this.#bytesRead, total)
      yield chunk
    }
    this.#ended = true
    await this.reachEnd()
  }

  /** True if the body is absent or has length 0 (`chunks` may be called nevertheless). */
  get isEmpty(): boolean {
    return !this.isPresent || this.length === 0
  }

  /** Calls the remaining hooks of a body that is empty or fully read. */
  async reachEnd(): Promise<void> {
    if (this.#endReached) return
    this.#endReached = true
    const total = this.length ?? Number.POSITIVE_INFINITY
    await this.#hooks.onProgress(total, total)
    await this.#hooks.onEnd()
  }

  /** Reads the whole body as text, for XML. Throws 400 MalformedXML beyond `maxBytes`. */
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
   * Discards the rest of the body. Throws 400 RequestTimeout if the client stops sending.
   *
   * @returns false if the connection cannot be reused: more than `maxBytes` were left, the client had stopped sending
   * before, or it still waits for `100 Continue` and may send the body or another request
   */
  async drain(maxBytes: number): Promise<boolean> {
    if (this.#ended || this.isEmpty) return true
    if (this.#timedOut) return false
    if (this.#expectsContinue && !this.#started) return false
    let remaining = maxBytes
    for (;;) {
      const chunk = await this.#nextChunk()
      if (chunk === undefined) return (this.#ended = true)
      await this.#hooks.onChunk(chunk.length)
      remaining -= chunk.length
      if (remaining < 0) return false
    }
  }

  /** Resolves with the next bytes, or undefined at the end. Throws 400 RequestTimeout when idle. */
  async #nextChunk(): Promise<Buffer | undefined> {
    const request = this.#request
    for (;;) {
      if (request.destroyed && !request.readableEnded) throw new ClientDisconnectedError()
      if (request.readableEnded) return undefined
      // a byte stream without an encoding yields buffers
      const chunk = request.read() as Buffer | null
      if (chunk !== null) return chunk
      if (request.readableEnded) return undefined
      if (await this.#waitForEvent()) continue
      this.#timedOut = true
      throw new OssError('RequestTimeout')
    }
  }

  /** Resolves with true at the next stream event, with false after `idleTimeout`. */
  #waitForEvent(): Promise<boolean> {
    this.#idleTimer ??= this.#startIdleTimer()
    this.#idleTimer.refresh()
    return new Promise(resolve => {
      this.#resumeWait = resolve
    })
  }

  /** Shares one timer and one set of listeners between all chunks, since there are thousands of them. */
  #startIdleTimer(): NodeJS.Timeout {
    const timer = setTimeout(() => this.#resumeWait(false), this.#hooks.idleTimeout)
    for (const event of READ_EVENTS) this.#request.on(event, () => this.#resumeWait(true))
    this.#request.once('close', () => clearTimeout(timer))
    return timer
  }
}

const READ_EVENTS = ['readable', 'end', 'close', 'error'] as const
