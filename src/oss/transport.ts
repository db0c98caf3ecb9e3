/**
 * The HTTP transport under `ali-oss` (its documented `urllib` option): one request on `node:http`,
 * streamed up, collected down, that can be aborted and that notices a dead socket by its silence.
 * `urllib` itself has none of that: its timer counts the upload's own time, it cannot be aborted,
 * and it writes "callback twice" to the console (ali-oss #963).
 */
import * as http from 'node:http'
import * as https from 'node:https'
import type { Readable } from 'node:stream'
import type { ClientRequest, IncomingMessage } from 'node:http'
import type { Call, Reply } from './port.js'

/** Replies are XML of at most 1,000 parts or a callback's JSON (1 MiB); more is not OSS. */
const MAX_REPLY = 8 * 1024 * 1024
const CONNECT_TIMEOUT = 10_000
const IDLE_TIMEOUT = 60_000

/** What travels from our call through `ali-oss` to the transport and back (its `ctx` option). */
export interface Exchange extends Call {
  /** The reply, as soon as its headers are there. */
  reply?: Reply
  /** Why there is no complete reply: `ali-oss` drops the original error's code. */
  failure?: Error
}

/** The request as `ali-oss` hands it to `urllib.request(url, params)`. */
export interface TransportRequest {
  method: string
  headers: Record<string, string | number>
  content?: Buffer | string
  stream?: Readable
  ctx?: () => Exchange
}

/** The answer as `ali-oss` expects it from `urllib`. */
export interface TransportResponse {
  status: number
  headers: IncomingMessage['headers']
  data: Buffer
  res: { status: number; headers: IncomingMessage['headers']; requestUrls: string[] }
}

export interface Agents {
  readonly http: http.Agent
  readonly https: http.Agent
}

export class Transport {
  readonly #agents: Agents
  readonly #own: http.Agent[] = []

  /** `agents`: the caller's own, for a proxy or a custom CA; default: keep-alive agents of ours. */
  constructor(agents: Partial<Agents> = {}) {
    const own = <A extends http.Agent>(agent: A): A => {
      this.#own.push(agent)
      return agent
    }
    this.#agents = {
      http: agents.http ?? own(new http.Agent({ keepAlive: true })),
      https: agents.https ?? own(new https.Agent({ keepAlive: true })),
    }
  }

  /** Sends one request. An arrow property: `ali-oss` calls it without its receiver. */
  readonly request = (url: string, params: TransportRequest): Promise<TransportResponse> => {
    const exchange = params.ctx?.() ?? {}
    return this.#send(url, params, exchange).catch((error: unknown) => {
      exchange.failure = error as Error // only Errors are thrown below
      throw error
    })
  }

  /** Ends our sockets. Idle ones never keep a process alive, so this is for the impatient. */
  close(): void {
    for (const agent of this.#own) agent.destroy()
  }

  #send(url: string, params: TransportRequest, exchange: Exchange): Promise<TransportResponse> {
    const secure = url.startsWith('https:')
    const { host, path, hostname, port } = splitUrl(url)
    return new Promise((resolve, reject) => {
      const body = params.stream
      const aborted = (): Error => named('AbortError', 'The request was aborted')
      if (exchange.signal?.aborted) {
        body?.destroy()
        return reject(aborted())
      }
      const request = (secure ? https : http).request({
        method: params.method,
        hostname,
        port: port ?? (secure ? 443 : 80),
        path,
        headers: { host, ...params.headers },
        agent: secure ? this.#agents.https : this.#agents.http,
      })
      const fail = (error: Error): void => {
        settle()
        reject(error)
        request.destroy()
      }
      const onAbort = (): void => fail(aborted())
      const settle = watch(request, exchange, fail, () => {
        exchange.signal?.removeEventListener('abort', onAbort)
        body?.destroy()
      })
      request.on('error', fail)
      request.on('response', response => {
        exchange.reply = { status: response.statusCode ?? 0, headers: response.headers }
        collect(response).then(data => {
          settle()
          // A reply before the end of the body (an early refusal): this socket is of no more use.
          if (!request.writableFinished) request.destroy()
          const { statusCode: status = 0, headers } = response
          resolve({ status, headers, data, res: { status, headers, requestUrls: [url] } })
        }, fail)
      })
      exchange.signal?.addEventListener('abort', onAbort, { once: true })
      if (body === undefined) {
        request.end(params.content)
      } else {
        body.on('error', fail)
        body.pipe(request)
      }
    })
  }
}

/** Fails a request that cannot connect in time or goes silent; returns what ends the watch. */
function watch(
  request: ClientRequest,
  call: Call,
  fail: (error: Error) => void,
  release: () => void,
): () => void {
  const idle = call.idleTimeout ?? IDLE_TIMEOUT
  let watching = true
  const patience = Math.min(CONNECT_TIMEOUT, idle)
  let connecting: NodeJS.Timeout | undefined
  // Not before: with `maxSockets` of the caller's agent, a request first waits for its turn.
  request.on('socket', socket => {
    if (!watching || !socket.connecting) return
    connecting = setTimeout(
      () => fail(named('ConnectTimeout', `No connection within ${patience} ms`)),
      patience,
    )
    socket.once('connect', () => clearTimeout(connecting))
  })
  request.setTimeout(idle, () => fail(named('IdleTimeout', `No byte moved for ${idle} ms`)))
  return () => {
    if (!watching) return
    watching = false
    clearTimeout(connecting)
    request.setTimeout(0)
    release()
  }
}

async function collect(response: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of response as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > MAX_REPLY)
      throw named('ReplyTooLarge', `The reply is longer than ${MAX_REPLY} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks, size)
}

/** Like `new URL`, but the path stays byte for byte what was signed. */
function splitUrl(url: string): { host: string; hostname: string; port?: number; path: string } {
  const { host, hostname, port } = new URL(url)
  const start = url.indexOf('/', url.indexOf('//') + 2)
  const path = start < 0 ? '/' : url.slice(start)
  const plain = hostname.replace(/^\[|\]$/g, '')
  return { host, hostname: plain, path, ...(port === '' ? {} : { port: Number(port) }) }
}

function named(name: string, message: string): Error {
  return Object.assign(new Error(message), { name })
}
