/**
 * The proxy that the environment names for a URL (`HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`,
 * `NO_PROXY`), and the tunnel through it. Loopback is never proxied. A proxy's password is sent to
 * the proxy and to nobody else: errors name it by host and port.
 *
 * The tunnel is our own because a request must be able to end it: the agents of `https-proxy-agent`
 * know neither abort nor timeout and hide a refusal as the server's reply, and those of
 * `http-proxy-agent` make a new URL of the signed one.
 */
import * as http from 'node:http'
import * as https from 'node:https'
import type { Duplex } from 'node:stream'
import { getProxyForUrl } from 'proxy-from-env'
import { tlsIdentityOptions } from './tls-identity.js'

export interface Proxy {
  /** For people: without user and password. */
  readonly name: string
  readonly secure: boolean
  readonly hostname: string
  readonly port: number
  /** What identifies us to it. */
  readonly headers: Readonly<Record<string, string>>
}

/** The proxy for `url`, by the environment; `undefined`: straight on. @throws Error `ProxyDenied` */
export function proxyFor(url: string): Proxy | undefined {
  if (isLoopback(new URL(url).hostname)) return undefined
  const named = getProxyForUrl(url)
  if (named === '') return undefined
  const parsed = URL.canParse(withScheme(named)) ? new URL(withScheme(named)) : undefined
  if (parsed === undefined || !['http:', 'https:'].includes(parsed.protocol)) {
    // Its value may hold a password.
    throw proxyError('ProxyDenied', `The proxy for ${new URL(url).origin} is not an http(s) URL`)
  }
  if (`${parsed.pathname}${parsed.search}${parsed.hash}`.includes('@')) {
    // A `/`, `?` or `#` in the password ended the host: `http://user:1/2@proxy` names the host `user`.
    const what = `The proxy for ${new URL(url).origin} has a password that is not percent-encoded`
    throw proxyError('ProxyDenied', what)
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

/** A proxy that says no: a person has to mend it, unless it is the proxy's own trouble (5xx). */
export function proxyRefused(proxy: Proxy, status: number): Error {
  const name = status >= 500 || status === 408 || status === 429 ? 'ProxyFailure' : 'ProxyDenied'
  const why = status === 407 ? ': it wants a user name and a password, or other ones' : ''
  return proxyError(name, `The proxy ${proxy.name} answered ${status}${why}`)
}

/** Says that it was the proxy that could not be reached; the error's code is kept. */
export function proxyUnreachable(proxy: Proxy, error: Error): Error {
  const { code = error.name } = error as NodeJS.ErrnoException // a system error has a code
  return Object.assign(proxyError(error.name, `The proxy ${proxy.name} failed: ${code}`), { code })
}

/** Options of a request that goes through a `TunnelAgent`. */
export interface TunnelOptions extends https.RequestOptions {
  /** Ends the way to the proxy while it is not there yet; afterwards it is not listened to. */
  tunnelSignal: AbortSignal
}

/** HTTPS through a proxy: CONNECT, then TLS with the endpoint; keep-alive like any other agent. */
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
      finish(new Error('The request ended before its tunnel was there'))
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
      // With a socket it is TLS over that one, and it is made at once.
      const stream = super.createConnection({ ...options, socket } as https.RequestOptions)
      finish(null, stream ?? undefined)
    })
    connect.end()
    return undefined
  }
}

/** `proxy-from-env` gives a proxy without a scheme the request's own; everybody else means HTTP. */
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

/** A password may hold a `%` that nobody has escaped. */
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
