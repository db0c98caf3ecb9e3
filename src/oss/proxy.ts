/**
 * Proxies from the environment (`HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`), and tunnels through them.
 * Loopback addresses are never proxied. A proxy's password is sent only to the proxy; errors contain its host
 * and port.
 *
 * Uses its own tunnel, because a request must be able to abort it. The agents of `https-proxy-agent` support
 * neither abort nor timeout and disguise a proxy's refusal as the server's reply, and those of
 * `http-proxy-agent` rebuild the signed URL.
 */
import * as http from 'node:http'
import * as https from 'node:https'
import type { Duplex } from 'node:stream'
import { getProxyForUrl } from 'proxy-from-env'
import { tlsIdentityOptions } from './tls-identity.js'

export interface Proxy {
  /** URL for messages, without user and password. */
  readonly name: string
  readonly secure: boolean
  readonly hostname: string
  readonly port: number
  /** Headers that authenticate us to the proxy. */
  readonly headers: Readonly<Record<string, string>>
}

/**
 * Returns the proxy for `url` from the environment, or `undefined` to connect directly.
 * @throws Error `ProxyDenied` if the proxy's URL is invalid
 */
export function proxyFor(url: string): Proxy | undefined {
  if (isLoopback(new URL(url).hostname)) return undefined
  const named = getProxyForUrl(url)
  if (named === '') return undefined
  const parsed = URL.canParse(withScheme(named)) ? new URL(withScheme(named)) : undefined
  if (parsed === undefined || !['http:', 'https:'].includes(parsed.protocol)) {
    // Do not show the value, which may contain a password.
    throw proxyError('ProxyDenied', `The proxy for ${new URL(url).origin} is not an http(s) URL`)
  }
  if (`${parsed.pathname}${parsed.search}${parsed.hash}`.includes('@')) {
    // A `/`, `?` or `#` in the password ends the host: the host of `http://user:1/2@proxy` is `user`.
    const message = `The password of the proxy for ${new URL(url).origin} is not percent-encoded`
    throw proxyError('ProxyDenied', message)
  }
  const secure = parsed.protocol === 'https:'
  const { hostname, host, port, username, password } = parsed
  const user = `${decodeLeniently(username)}:${decodeLeniently(password)}`
  return {
    name: `${parsed.protocol}//${host}`,
    secure,
    hostname: withoutBrackets(hostname),
    port: port === '' ? (secure ? 443 : 80) : Number(port),
    headers:
      user === ':'
        ? {}
        : { 'proxy-authorization': `Basic ${Buffer.from(user).toString('base64')}` },
  }
}

/** Creates the error for a proxy's refusal. The user must fix it, unless the proxy itself has failed (5xx). */
export function proxyRefused(proxy: Proxy, status: number): Error {
  const name = status >= 500 || status === 408 || status === 429 ? 'ProxyFailure' : 'ProxyDenied'
  const why = status === 407 ? ': the user name or password is missing or wrong' : ''
  return proxyError(name, `The proxy ${proxy.name} answered ${status}${why}`)
}

/** Creates the error for a proxy that cannot be reached. Keeps the code of `error`. */
export function proxyUnreachable(proxy: Proxy, error: Error): Error {
  const { code = error.name } = error as NodeJS.ErrnoException // a system error has a code
  return Object.assign(proxyError(error.name, `The proxy ${proxy.name} failed: ${code}`), { code })
}

/** Options of a request that goes through a `TunnelAgent`. */
export interface TunnelOptions extends https.RequestOptions {
  /** Aborts the tunnel while it is being established; ignored afterwards. */
  tunnelSignal: AbortSignal
}

/** Agent for HTTPS through a proxy: CONNECT, then TLS with the endpoint. Keeps connections alive. */
export class TunnelAgent extends https.Agent {
  readonly #proxy: Proxy
  readonly #tls: https.AgentOptions

  constructor(proxy: Proxy, tls: https.AgentOptions) {
    super({ ...tls, keepAlive: true })
    this.#proxy = proxy
    this.#tls = tls
  }

  override createConnection(
    options: TunnelOptions,
    callback: (error: Error | null, stream?: Duplex) => void,
  ): undefined {
    const proxy = this.#proxy
    const { host, port, tunnelSignal } = options
    const authority = `${host?.includes(':') ? `[${host}]` : host}:${port}`
    const connect = (proxy.secure ? https : http).request({
      method: 'CONNECT',
      hostname: proxy.hostname,
      port: proxy.port,
      path: authority,
      headers: { host: authority, ...proxy.headers },
      agent: false,
      ...(proxy.secure && { ...this.#tls, ...tlsIdentityOptions(proxy.hostname) }),
    })
    let done = false
    const finish = (error: Error | null, stream?: Duplex): void => {
      if (done) return
      done = true
      tunnelSignal.removeEventListener('abort', onAbort)
      callback(error, stream)
    }
    const onAbort = (): void => {
      connect.destroy()
      finish(new Error('The request ended before its tunnel was established'))
    }
    tunnelSignal.addEventListener('abort', onAbort, { once: true })
    connect.on('error', error => finish(proxyUnreachable(proxy, error)))
    connect.on('response', response => {
      connect.destroy()
      finish(proxyRefused(proxy, response.statusCode ?? 0))
    })
    connect.on('connect', (response, socket) => {
      if (response.statusCode !== 200 || done) {
        socket.destroy()
        return finish(proxyRefused(proxy, response.statusCode ?? 0))
      }
      // Given a socket, `createConnection()` starts TLS over it and returns synchronously.
      const stream = super.createConnection({ ...options, socket } as https.RequestOptions)
      finish(null, stream ?? undefined)
    })
    connect.end()
    return undefined
  }
}

/** Defaults a proxy without a scheme to HTTP, as is usual. `proxy-from-env` adds the scheme of the request. */
function withScheme(proxy: string): string {
  const env = process.env
  const asGiven = [
    'https_proxy',
    'HTTPS_PROXY',
    'http_proxy',
    'HTTP_PROXY',
    'all_proxy',
    'ALL_PROXY',
  ]
  return asGiven.some(name => env[name] === proxy) ? proxy : proxy.replace(/^https:/, 'http:')
}

/** Decodes `text`, which may contain an unescaped `%`. */
function decodeLeniently(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

function isLoopback(hostname: string): boolean {
  return /^(localhost|.*\.localhost|127(\.\d+){3}|\[::1\])$/i.test(hostname)
}

function withoutBrackets(hostname: string): string {
  return hostname.replace(/^\[|\]$/g, '')
}

function proxyError(name: string, message: string): Error {
  return Object.assign(new Error(message), { name })
}
