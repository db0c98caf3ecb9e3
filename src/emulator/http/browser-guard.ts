/**
 * Recognises requests that a web page may have caused. A page of any site can make a browser send requests to
 * loopback addresses, and by DNS rebinding it can do so under its own host name; neither may reach the emulator.
 */
import { isIP } from 'node:net'
import { normalizeHost } from './bucket-address.js'
import type { HeaderMap } from './headers.js'

/** Settings that tell our own host names from others. */
export interface HostSettings {
  /** Address or name that the emulator listens on. */
  readonly host: string
  /** Host names (lower case) mapped to buckets. */
  readonly cnames: Readonly<Record<string, string>>
}

/** Returns whether the headers tell that a page of an origin other than `host` caused the request. */
export function isCrossOrigin(headers: HeaderMap, host: string): boolean {
  const fetchSite = headers.get('sec-fetch-site')
  if (fetchSite === 'cross-site' || fetchSite === 'same-site') return true
  const origin = headers.get('origin')
  if (origin === undefined) return false
  return origin.toLowerCase().replace(/^https?:\/\//, '') !== host.toLowerCase()
}

/**
 * Returns whether a browser may have sent the request. Browsers send Accept-Language with every request, and no
 * page can omit it; SDKs do not send it.
 */
export function isFromBrowser(headers: HeaderMap): boolean {
  return headers.get('accept-language') !== undefined
}

/** Returns whether `name`, an address or a host name without port, is this machine, so that DNS cannot change it. */
export function isLoopback(name: string): boolean {
  return name === 'localhost' || name === '::1' || (isIP(name) === 4 && name.startsWith('127.'))
}

/**
 * Returns whether nobody else can have made a DNS name lead here as `host`: an address, a name without dots, a name
 * of OSS, of localhost or of the address that the emulator listens on, each also with a bucket before it, or one
 * of `cnames`.
 */
export function isOwnHost(host: string, { host: boundHost, cnames }: HostSettings): boolean {
  const name = normalizeHost(host)
  const domain = name.slice(name.indexOf('.') + 1)
  const ownDomains = ['localhost', 'aliyuncs.com', ...(boundHost === '' ? [] : [boundHost])]
  return (
    !name.includes('.') ||
    isIP(name) !== 0 ||
    isIP(domain) !== 0 ||
    Object.hasOwn(cnames, name) ||
    ownDomains.some(own => `.${name}`.endsWith(`.${own.toLowerCase()}`))
  )
}
