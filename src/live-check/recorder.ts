/** Records all requests of one side and their replies, counts them, and stops before they cost more than announced. */
import { crc64 } from '../crc64.js'
import type { SendRequest, TransportRequest, TransportResponse } from '../oss/transport.js'
import { errorMessage } from '../util/error-shape.js'
import type { Entry, Exchange } from './exchange.js'
import { redact } from './redact.js'

/** Limits of the checks of one side. Removing what they have made needs some 30 requests more. */
const MAX_REQUESTS = 250
const MAX_BYTES = 50_000_000

export class Recorder {
  readonly entries: Entry[] = []
  requests = 0
  /** Bytes of bodies, in both directions. */
  bytes = 0
  /** Name of the running check. */
  check = ''
  /** The checks are over, and what they have made is removed: without limits, and also after an interrupt. */
  isCleaningUp = false
  /** Fails a request before it is sent, as a network would that is gone. */
  isCut = (_method: string, _url: string): boolean => false
  /** Secrets that are never sent, such as the secret of the key. */
  readonly #secrets: Iterable<string>
  #send: SendRequest | undefined

  constructor(secrets: Iterable<string>) {
    this.#secrets = secrets
  }

  /** Sends a request that is recorded. */
  get send(): SendRequest {
    if (this.#send === undefined) throw new Error('The recorder is not connected')
    return this.#send
  }

  note(note: string, value: string): void {
    this.entries.push({ check: this.check, note, value })
  }

  /** Wraps the function that sends the requests of a connection. */
  readonly wrap = (send: SendRequest): SendRequest => {
    this.#send = async (url, params) => {
      if (this.isCut(params.method, url)) throw new Error('The network is cut on purpose')
      this.#count(params)
      const sent = describeRequest(this.check, url, params)
      try {
        const reply = await send(url, params)
        this.bytes += reply.data.length
        this.#record({ ...sent, ...describeReply(reply) })
        return reply
      } catch (error) {
        this.#record({ ...sent, failure: errorMessage(error) })
        throw error
      }
    }
    return this.#send
  }

  #record(exchange: Exchange): void {
    this.entries.push(redact({ ...exchange, time: Date.now() }, this.#secrets))
  }

  #count(params: TransportRequest): void {
    const size = bodySize(params)
    const isOver = this.requests >= MAX_REQUESTS || this.bytes + size > MAX_BYTES
    if (isOver && !this.isCleaningUp) throw new Error('The check has reached its limit')
    this.requests++
    this.bytes += size
  }
}

function bodySize({ headers, content }: TransportRequest): number {
  if (content !== undefined) return Buffer.byteLength(content)
  return Number(headers['Content-Length'] ?? headers['content-length'] ?? 0)
}

function describeRequest(check: string, url: string, params: TransportRequest): Exchange {
  const { method, headers, content } = params
  const text = content === undefined ? '' : content.toString()
  const isXml = /^\s*</.test(text.slice(0, 100))
  const size = bodySize(params)
  return {
    check,
    method,
    url,
    requestHeaders: lowerCased(headers),
    requestBody: isXml ? text : size === 0 ? '' : `<${size} bytes>`,
    status: 0,
    replyHeaders: {},
    replyBody: '',
    time: 0,
  }
}

type Reply = Pick<Exchange, 'status' | 'replyHeaders' | 'replyBody'>

function describeReply({ status, headers, data }: TransportResponse): Reply {
  const isXml = /^\s*<\?xml/.test(data.toString('latin1', 0, 100))
  const content = data.length === 0 ? '' : `<${data.length} bytes, CRC64 ${crc64(data)}>`
  return { status, replyHeaders: lowerCased(headers), replyBody: isXml ? String(data) : content }
}

type HeaderValue = string | number | readonly string[] | undefined

function lowerCased(headers: Readonly<Record<string, HeaderValue>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).flatMap(([name, value]) =>
      value === undefined ? [] : [[name.toLowerCase(), String(value)]],
    ),
  )
}
