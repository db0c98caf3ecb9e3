/**
 * The HTTP transport under `ali-oss` (its documented `urllib` option): one request on `node:http`,
 * streamed up, collected down, that can be aborted and that notices a dead socket by its silence.
 * `urllib` itself has none of that: its timer counts the upload's own time, it cannot be aborted,
 * and it writes "callback twice" to the console (ali-oss #963).
 */
import * as http from 'node:http'
import * as https from 'node:https'
import type { IncomingMessage } from 'node:http'
import { identityOf } from './identity.js'
import { watch, type Line } from './patience.js'
import type { Body, Call, RateLimit, Reply } from './port.js'
import { proxyFor, refusal, TunnelAgent, unreachable, type Proxy } from './proxy.js'
import { pace } from './rate.js'
import { parseable } from './xml.js'

/**
 * Replies are XML of at most 1,000 parts or 200 uploads, or a callback's JSON (1 MiB); more is not OSS.
 * As a tree, XML takes up to 70 times its size.
 */
const MAX_REPLY = 2 * 1024 * 1024

/** For signals that only end a wait: an `AbortError` of its own, with a stack, for each costs time. */
const OVER = 'the request is over'

/** What travels from our call through `ali-oss` to the transport and back (its `ctx` option). */
export interface Exchange extends Call {
  /** The request's body, where `ali-oss` was given none. */
  readonly body?: Body
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

/** PEM certificates that are trusted, instead of those that come with Node. */
export type CertificateAuthorities = string | Buffer | readonly (string | Buffer)[]

/** Where a request goes first, and how it is put there. */
interface Way {
  readonly proxy?: Proxy
  readonly secure: boolean
  readonly options: https.RequestOptions
  /** Besides those of the request, which win. */
  readonly headers: Readonly<Record<string, string>>
}

export class Transport {
  readonly #given: Partial<Agents>
  readonly #own: Agents
  /** By the proxy's and the user's name. */
  readonly #tunnels = new Map<string, TunnelAgent>()
  readonly #tls: https.AgentOptions
  readonly #line: Line = { sending: 0 }
  #limits: readonly RateLimit[] = []

  /**
   * @param agents the caller's own; they win over `ca` and over proxies. Default: keep-alive ones
   * @param ca for HTTPS, also through a proxy
   */
  constructor(agents: Partial<Agents> = {}, ca?: CertificateAuthorities) {
    this.#given = agents
    // Node's typings want an array they may write to.
    this.#tls =
      ca === undefined ? {} : { ca: typeof ca === 'object' && !Buffer.isBuffer(ca) ? [...ca] : ca }
    this.#own = {
      http: new http.Agent({ keepAlive: true }),
      https: new https.Agent({ keepAlive: true, ...this.#tls }),
    }
  }

  /** Limits the bodies of all requests together; none: no limit, and no work for it. */
  limit(limits: readonly RateLimit[]): void {
    this.#limits = limits
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
    for (const agent of [this.#own.http, this.#own.https, ...this.#tunnels.values()]) {
      agent.destroy()
    }
  }

  #send(url: string, params: TransportRequest, exchange: Exchange): Promise<TransportResponse> {
    return new Promise((resolve, reject) => {
      const { body } = exchange
      const aborted = (): Error => named('AbortError', 'The request was aborted')
      // Ends what the request waits for: its turn under the rate limit, its tunnel.
      const ended = new AbortController()
      const content =
        typeof params.content === 'string' ? Buffer.from(params.content) : params.content
      const source = body ?? content
      const isPaced = source !== undefined && this.#limits.length > 0
      const paced = isPaced ? pace(this.#limits, source, ended.signal) : undefined
      let way: Way
      let request: http.ClientRequest
      try {
        if (exchange.signal?.aborted) throw aborted()
        way = this.#way(url, ended.signal)
        request = (way.secure ? https : http).request({
          ...way.options,
          method: params.method,
          headers: { ...way.headers, ...params.headers, ...lengthOf(paced && content) },
        })
      } catch (error) {
        return reject(error)
      }
      const { proxy } = way
      const tunnel = way.options.agent instanceof TunnelAgent
      const fail = (error: Error): void => {
        settle()
        reject(error)
        request.destroy()
      }
      const onAbort = (): void => fail(aborted())
      const unwatch = watch({
        request,
        call: exchange,
        line: this.#line,
        size: content?.length ?? sizeOf(params.headers),
        waits: paced?.waits,
        tunnel,
        fail,
      })
      if (source !== undefined) this.#line.sending++
      const settle = (): void => {
        if (ended.signal.aborted) return
        ended.abort(OVER)
        if (source !== undefined) this.#line.sending--
        unwatch()
        exchange.signal?.removeEventListener('abort', onAbort)
      }
      request.on('error', (error: NodeJS.ErrnoException) => {
        const connecting = error.syscall === 'connect' || error.syscall === 'getaddrinfo'
        fail(proxy !== undefined && connecting && !tunnel ? unreachable(proxy, error) : error)
      })
      request.on('response', response => {
        const { statusCode: status = 0, headers } = response
        if (status === 407 && proxy !== undefined) return fail(refusal(proxy, status))
        exchange.reply = { status, headers }
        collect(response).then(data => {
          settle()
          // A reply before the end of the body (an early refusal): this socket is of no more use.
          if (!request.writableFinished) request.destroy()
          const whole = parseable(data, headers['content-type'])
          resolve({ status, headers, data: whole, res: { status, headers, requestUrls: [url] } })
        }, fail)
      })
      exchange.signal?.addEventListener('abort', onAbort, { once: true })
      const chunks = paced?.body ?? body
      if (chunks === undefined) request.end(content)
      else pour(chunks, request).catch(fail)
    })
  }

  /** Straight on, or by the proxy that the environment names, unless the agent is the caller's. */
  #way(url: string, ended: AbortSignal): Way {
    const secure = url.startsWith('https:')
    const { host, path, hostname, port = secure ? 443 : 80 } = splitUrl(url)
    const headers = { host }
    const target = { hostname, port, path }
    const given = secure ? this.#given.https : this.#given.http
    const proxy = given === undefined ? proxyFor(url) : undefined
    if (proxy === undefined) {
      const agent = given ?? (secure ? this.#own.https : this.#own.http)
      const options = { ...target, agent, ...(secure && identityOf(hostname)) }
      return { secure, options, headers }
    }
    if (secure) {
      const tunnel = { tunnelSignal: ended, agent: this.#tunnel(proxy) }
      const options = { ...target, ...identityOf(hostname), ...tunnel }
      return { proxy, secure, options, headers }
    }
    const options = {
      hostname: proxy.hostname,
      port: proxy.port,
      path: url,
      agent: proxy.secure ? this.#own.https : this.#own.http,
      ...(proxy.secure && identityOf(proxy.hostname)),
    }
    return { proxy, secure: proxy.secure, options, headers: { ...headers, ...proxy.headers } }
  }

  #tunnel(proxy: Proxy): TunnelAgent {
    const name = JSON.stringify(proxy)
    let agent = this.#tunnels.get(name)
    if (agent === undefined) {
      agent = new TunnelAgent(proxy, this.#tls)
      this.#tunnels.set(name, agent)
    }
    return agent
  }
}

/**
 * Writes `body` to `request` and ends it. Each chunk is the kernel's before the next is asked for, so
 * that they may share one buffer.
 */
async function pour(body: Body, request: http.ClientRequest): Promise<void> {
  let resume = (): void => {}
  request.once('close', () => resume()) // what was not written by then never will be
  for await (const chunk of body) {
    if (request.destroyed) return
    await new Promise<void>(resolve => {
      resume = resolve
      request.write(chunk, () => resolve())
    })
    if (request.destroyed) return
  }
  request.end()
}

/** A body that is given as a whole keeps its length when it is sent in slices. */
function lengthOf(content: Buffer | undefined): Record<string, number> {
  return content === undefined ? {} : { 'content-length': content.length }
}

function sizeOf(headers: TransportRequest['headers']): number | undefined {
  for (const [name, value] of Object.entries(headers)) {
    if (name.toLowerCase() === 'content-length') return Number(value)
  }
  return undefined
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
