/**
 * The body of a request on its way in: at the speed of the link, with the moments at which faults
 * strike, and with OSS's answer to a client that falls silent. It is read once, to its end; what an
 * operation leaves is drained, so that a client sees the answer rather than a reset.
 */
import type { IncomingMessage } from 'node:http'
import { OssError } from './oss-error.js'

/** What the reading of a body calls for. */
export interface BodyHooks {
  /** Before the first byte is read (sends 100-continue if it was asked for). */
  begin(): void
  /** After each chunk; waits for the link. */
  took(bytes: number): Promise<void>
  /** At the mark within the body, or at its end; once. */
  half(): Promise<void>
  /** After the last byte; once. */
  end(): Promise<void>
  /** After how many bytes `half` is due. */
  mark(length: number): number
  /** ms to wait for the next byte. */
  readonly idleTimeout: number
}

/** The client went away before its request was complete. Nobody is left to be told. */
export class ClientGone extends Error {}

/** A request's body. */
export class IncomingBody {
  /** Content-Length; undefined when chunked. */
  readonly length: number | undefined
  /** False if the request announces none: no length, no chunks. */
  readonly present: boolean
  #received = 0
  #over = false
  #halfPassed = false
  #endPassed = false
  #begun = false
  #silent = false
  #timer: NodeJS.Timeout | undefined
  /** Ends the wait; between waits it ends none. */
  #wake: (moved: boolean) => void = () => {}
  readonly #waitsToBegin: boolean
  readonly #request: IncomingMessage
  readonly #hooks: BodyHooks

  constructor(request: IncomingMessage, hooks: BodyHooks) {
    this.#request = request
    this.#hooks = hooks
    this.#waitsToBegin = request.headers.expect !== undefined
    const length = request.headers['content-length']
    this.length = length === undefined ? undefined : Number(length)
    this.present = length !== undefined || request.headers['transfer-encoding'] !== undefined
  }

  /** The bytes, as they come. */
  async *chunks(): AsyncGenerator<Buffer> {
    const hooks = this.#hooks
    this.#begun = true
    hooks.begin()
    const mark = hooks.mark(this.length ?? 0)
    for (;;) {
      const chunk = await this.#next()
      if (chunk === undefined) break
      await hooks.took(chunk.length)
      this.#received += chunk.length
      if (this.#received >= mark && mark > 0) await this.#passHalf()
      yield chunk
    }
    this.#over = true
    await this.pass()
  }

  /** Nothing comes: none is announced, or one of no bytes (which `chunks` may still be asked for). */
  get empty(): boolean {
    return !this.present || this.length === 0
  }

  /** The moments of a body that is empty, or is over; once. */
  async pass(): Promise<void> {
    await this.#passHalf()
    if (this.#endPassed) return
    this.#endPassed = true
    await this.#hooks.end()
  }

  /** All of it, for XML bodies. 400 MalformedXML beyond `limit` bytes. */
  async text(limit: number): Promise<string> {
    const chunks: Buffer[] = []
    let size = 0
    for await (const chunk of this.chunks()) {
      size += chunk.length
      if (size > limit) throw new OssError('MalformedXML')
      chunks.push(chunk)
    }
    return Buffer.concat(chunks).toString()
  }

  /**
   * Reads on to nowhere. A client that still waits for `100 Continue` will send nothing.
   * @returns false if the connection cannot be used again: more than `limit` bytes were left, or
   * nothing came any more
   */
  async drain(limit: number): Promise<boolean> {
    if (this.#over || !this.present) return true
    if (this.#silent) return false
    if (this.#waitsToBegin && !this.#begun) return true
    let left = limit
    for (;;) {
      const chunk = await this.#next()
      if (chunk === undefined) return (this.#over = true)
      await this.#hooks.took(chunk.length)
      left -= chunk.length
      if (left < 0) return false
    }
  }

  async #passHalf(): Promise<void> {
    if (this.#halfPassed) return
    this.#halfPassed = true
    await this.#hooks.half()
  }

  /** The next bytes, or undefined at the end. */
  async #next(): Promise<Buffer | undefined> {
    const request = this.#request
    for (;;) {
      if (request.destroyed && !request.readableEnded) throw new ClientGone()
      if (request.readableEnded) return undefined
      // without an encoding a stream of bytes gives buffers
      const chunk = request.read() as Buffer | null
      if (chunk !== null) return chunk
      if (request.readableEnded) return undefined
      if (await this.#moved()) continue
      this.#silent = true
      throw new OssError('RequestTimeout')
    }
  }

  /** Waits until the stream has something to say; false if it stays silent for too long. */
  #moved(): Promise<boolean> {
    this.#timer ??= this.#listen()
    this.#timer.refresh()
    return new Promise(resolve => {
      this.#wake = resolve
    })
  }

  /** One timer and one set of listeners for all chunks: there are thousands. */
  #listen(): NodeJS.Timeout {
    const timer = setTimeout(() => this.#wake(false), this.#hooks.idleTimeout)
    for (const event of EVENTS) this.#request.on(event, () => this.#wake(true))
    this.#request.once('close', () => clearTimeout(timer))
    return timer
  }
}

const EVENTS = ['readable', 'end', 'close', 'error'] as const
