/**
 * HTTP transport for `ali-oss`, passed as its documented `urllib` option. Sends requests with `node:http`, streams
 * the body, buffers the reply, supports abort and detects dead sockets by an idle timeout. `urllib` cannot do
 * this: its timer includes the time of the upload itself, it cannot be aborted, and it writes "callback twice" to
 * the console (ali-oss #963).
 */
import * as http from 'node:http'
import * as https from 'node:https'
import type { IncomingMessage } from 'node:http'
import { tlsIdentityOptions } from './tls-identity.js'
import { startTimeouts, type ConnectionLoad } from './request-timeouts.js'
import type { UploadBody, CallOptions, RateLimit, HttpResponse } from './bucket.js'
import { proxyFor, proxyRefused, TunnelAgent, proxyUnreachable, type Proxy } from './proxy.js'
import { pace } from './rate-limiter.js'
import type { BodyMeter } from './body-meter.js'
import { sanitizeXml } from './sanitize-xml.js'
import { isError, toError } from '../util/error-shape.js'

/**
 * Maximum size of a reply. OSS sends XML with at most 1,000 parts or 200 uploads, or a callback's JSON (1 MiB).
 * Parsed XML takes up to 70 times its size.
 */
const MAX_RESPONSE_BYTES = 2 * 1024 * 1024

/** Maximum number of bytes of a refusal that are kept. Its XML is smaller than 2 KiB. */
const MAX_REFUSAL_BYTES = 16 * 1024

/** Abort reason. A constant, because creating an `AbortError` captures a stack, which is expensive. */
const REQUEST_OVER = 'the request is over'

/** Context of a call, passed through `ali-oss` to the transport and back (its `ctx` option). */
export interface TransportContext extends CallOptions {
  /** Body of the request, if it was not passed to `ali-oss`. */
  readonly body?: UploadBody
  /** Reply, set as soon as its headers have arrived. */
  reply?: HttpResponse
  /** Start of the body of a 403 reply. `ali-oss` drops the elements that it does not know. */
  refusal?: string
  /** The body could not be read: not a failure of the request. */
  bodyError?: unknown
  /** Reason why there is no complete reply. `ali-oss` drops the code of the original error. */
  failure?: Error
}

/** Request as passed by `ali-oss` to `urllib.request(url, params)`. */
export interface TransportRequest {
  method: string
  headers: Record<string, string | number>
  content?: Buffer | string
  ctx?: () => TransportContext
}

/** Response as `ali-oss` expects it from `urllib`. */
export interface TransportResponse {
  status: number
  headers: IncomingMessage['headers']
  data: Buffer
  res: { status: number; headers: IncomingMessage['headers']; requestUrls: string[] }
}

/** Sends one request. Rejects if there is no complete reply. */
export type SendRequest = (url: string, params: TransportRequest) => Promise<TransportResponse>

export interface Agents {
  readonly http: http.Agent
  readonly https: http.Agent
}

/** PEM certificates to trust instead of those of Node. */
export type CertificateAuthorities = string | Buffer | readonly (string | Buffer)[]

/** First hop of a request, either the endpoint or a proxy, and its request options. */
interface Route {
  readonly proxy?: Proxy
  readonly secure: boolean
  readonly options: https.RequestOptions
  /** Default headers; those of the request take precedence. */
  readonly headers: Readonly<Record<string, string>>
}

export class Transport {
  readonly #callerAgents: Partial<Agents>
  readonly #agents: Agents
  /** Tunnels by proxy and its credentials. */
  readonly #tunnels = new Map<string, TunnelAgent>()
  readonly #tlsOptions: https.AgentOptions
  readonly #load: ConnectionLoad = { requestsSending: 0 }
  #limits: readonly RateLimit[] = []

  /**
   * @param agents – the caller's agents, which take precedence over `ca` and proxies. Default: keep-alive agents
   * @param ca – certificates to trust for HTTPS, also through a proxy
   */
  constructor(agents: Partial<Agents> = {}, ca?: CertificateAuthorities) {
    this.#callerAgents = agents
    // Node's typings require a mutable array.
    this.#tlsOptions =
      ca === undefined ? {} : { ca: typeof ca === 'object' && !Buffer.isBuffer(ca) ? [...ca] : ca }
    this.#agents = {
      http: new http.Agent({ keepAlive: true }),
      https: new https.Agent({ keepAlive: true, ...this.#tlsOptions }),
    }
  }

  /** Limits the combined rate of all request bodies. An empty array disables pacing at no cost. */
  setLimits(limits: readonly RateLimit[]): void {
    this.#limits = limits
  }

  /** Sends one request. An arrow function, because `ali-oss` calls it without its receiver. */
  readonly request: SendRequest = (url, params) =>
    new Promise((resolve, rejectRequest) => {
      const exchange = params.ctx?.() ?? {}
      const reject = (error: unknown): void => {
        exchange.failure ??= error as Error // only Errors are passed below
        rejectRequest(error)
      }
      const { body, meter } = exchange
      const aborted = (): Error => namedError('AbortError', 'The request was aborted')
      let isOver = false
      // Ends waits of the request: for the rate limit and for its tunnel. Created on demand, since few requests
      // wait and aborting a signal is expensive.
      let waits: AbortController | undefined
      const waitSignal = (): AbortSignal => (waits ??= new AbortController()).signal
      const content =
        typeof params.content === 'string' ? Buffer.from(params.content) : params.content
      const source = body ?? content
      const isPaced = source !== undefined && this.#limits.length > 0
      const paced = isPaced ? pace(this.#limits, source, waitSignal()) : undefined
      let route: Route
      let request: http.ClientRequest
      try {
        if (exchange.signal?.aborted) throw aborted()
        route = this.#route(url, waitSignal)
        request = (route.secure ? https : http).request({
          ...route.options,
          method: params.method,
          headers: {
            ...route.headers,
            ...params.headers,
            ...contentLengthHeader(paced && content),
          },
        })
      } catch (error) {
        return reject(error)
      }
      const { proxy } = route
      const isTunnel = route.options.agent instanceof TunnelAgent
      const fail = (error: Error): void => {
        end()
        reject(error)
        request.destroy()
      }
      const onAbort = (): void => fail(aborted())
      const stopTimeouts = startTimeouts({
        request,
        call: exchange,
        load: this.#load,
        size: content?.length ?? contentLengthOf(params.headers),
        pacing: paced?.delay,
        isTunnel,
        fail,
      })
      if (source !== undefined) this.#load.requestsSending++
      const end = (): void => {
        if (isOver) return
        isOver = true
        waits?.abort(REQUEST_OVER)
        if (source !== undefined) this.#load.requestsSending--
        stopTimeouts()
        exchange.signal?.removeEventListener('abort', onAbort)
      }
      request.on('error', failure => {
        const error = connectError(failure)
        const connecting = error.syscall === 'connect' || error.syscall === 'getaddrinfo'
        fail(
          proxy !== undefined && connecting && !isTunnel ? proxyUnreachable(proxy, error) : error,
        )
      })
      request.on('response', response => {
        const { statusCode: status = 0, headers } = response
        if (status === 407 && proxy !== undefined) return fail(proxyRefused(proxy, status))
        exchange.reply = { status, headers }
        readResponse(response).then(data => {
          end()
          // The reply came before the end of the body (an early refusal), so the socket cannot be reused.
          if (!request.writableFinished) request.destroy()
          const whole = sanitizeXml(data, headers['content-type'])
          if (status === 403) exchange.refusal = whole.toString('utf8', 0, MAX_REFUSAL_BYTES)
          resolve({ status, headers, data: whole, res: { status, headers, requestUrls: [url] } })
        }, fail)
      })
      exchange.signal?.addEventListener('abort', onAbort, { once: true })
      if (meter !== undefined)
        request.once('socket', socket => meter.watch(socket, { secure: route.secure }))
      const chunks = paced?.body ?? body
      if (chunks === undefined) {
        if (meter !== undefined) meter.written = content?.length ?? 0
        request.end(content)
      } else {
        pipeBody(chunks, request, meter).catch((error: unknown) => {
          if (exchange.failure === undefined) exchange.bodyError = error
          fail(toError(error))
        })
      }
    })

  /** Destroys pooled sockets. Optional: idle sockets are unref'd. */
  close(): void {
    for (const agent of [this.#agents.http, this.#agents.https, ...this.#tunnels.values()]) {
      agent.destroy()
    }
  }

  /** Routes `url` directly or through the proxy from the environment. The caller's agent is never proxied. */
  #route(url: string, waitSignal: () => AbortSignal): Route {
    const secure = url.startsWith('https:')
    const { host, path, hostname, port = secure ? 443 : 80 } = splitUrl(url)
    const headers = { host }
    const target = { hostname, port, path }
    const callerAgent = secure ? this.#callerAgents.https : this.#callerAgents.http
    const proxy = callerAgent === undefined ? proxyFor(url) : undefined
    if (proxy === undefined) {
      const agent = callerAgent ?? (secure ? this.#agents.https : this.#agents.http)
      const options = { ...target, agent, ...(secure && tlsIdentityOptions(hostname)) }
      return { secure, options, headers }
    }
    if (secure) {
      const tunnel = { tunnelSignal: waitSignal(), agent: this.#tunnel(proxy) }
      const options = { ...target, ...tlsIdentityOptions(hostname), ...tunnel }
      return { proxy, secure, options, headers }
    }
    const options = {
      hostname: proxy.hostname,
      port: proxy.port,
      path: url,
      agent: proxy.secure ? this.#agents.https : this.#agents.http,
      ...(proxy.secure && tlsIdentityOptions(proxy.hostname)),
    }
    return { proxy, secure: proxy.secure, options, headers: { ...headers, ...proxy.headers } }
  }

  #tunnel(proxy: Proxy): TunnelAgent {
    const name = JSON.stringify(proxy)
    let agent = this.#tunnels.get(name)
    if (agent === undefined) {
      agent = new TunnelAgent(proxy, this.#tlsOptions)
      this.#tunnels.set(name, agent)
    }
    return agent
  }
}

/**
 * Returns the error of a host of which no address could be connected to, with the reason of each. Node's own has no
 * message, and the code of the first address, which may only be that of its short time limit; the last has none.
 */
function connectError(error: NodeJS.ErrnoException): NodeJS.ErrnoException {
  const reasons: unknown = 'errors' in error ? error.errors : undefined
  if (!Array.isArray(reasons) || !reasons.every(isError)) return error
  const last: NodeJS.ErrnoException | undefined = reasons.at(-1)
  if (last === undefined) return error
  const message = reasons.map(reason => reason.message).join('; ')
  return Object.assign(new Error(message), { code: last.code, syscall: last.syscall })
}

/**
 * Writes `body` to `request` and ends it. Each chunk is handed to the kernel before the next one is requested, so
 * that chunks may share one buffer.
 */
async function pipeBody(
  body: UploadBody,
  request: http.ClientRequest,
  meter: BodyMeter | undefined,
): Promise<void> {
  let resume = (): void => {}
  request.once('close', () => resume()) // a pending write never calls back after `close`
  for await (const chunk of body) {
    if (request.destroyed) return
    if (meter !== undefined) meter.written += chunk.length
    await new Promise<void>(resolve => {
      resume = resolve
      request.write(chunk, () => resolve())
    })
    if (request.destroyed) return
  }
  request.end()
}

/** Keeps the Content-Length of a buffered body that is sent in slices. */
function contentLengthHeader(content: Buffer | undefined): Record<string, number> {
  return content === undefined ? {} : { 'content-length': content.length }
}

function contentLengthOf(headers: TransportRequest['headers']): number | undefined {
  for (const [name, value] of Object.entries(headers)) {
    if (name.toLowerCase() === 'content-length') return Number(value)
  }
  return undefined
}

async function readResponse(response: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of response as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > MAX_RESPONSE_BYTES)
      throw namedError('ReplyTooLarge', `The reply is larger than ${MAX_RESPONSE_BYTES} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks, size)
}

/** Splits a URL like `new URL()`, but keeps the path byte for byte as it was signed. */
function splitUrl(url: string): { host: string; hostname: string; port?: number; path: string } {
  const { host, hostname, port } = new URL(url)
  const start = url.indexOf('/', url.indexOf('//') + 2)
  const path = start < 0 ? '/' : url.slice(start)
  const plain = hostname.replace(/^\[|\]$/g, '')
  return { host, hostname: plain, path, ...(port === '' ? {} : { port: Number(port) }) }
}

function namedError(name: string, message: string): Error {
  return Object.assign(new Error(message), { name })
}
