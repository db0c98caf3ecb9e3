/**
 * Recognises requests that a web page caused. A page of any site can make a browser send requests to loopback
 * addresses, and by DNS rebinding it can do so under its own host name; neither may reach the emulator.
 */
import { isIP } from 'node:net'
import { normalizeHost } from './bucket-address.js'

/** Headers that reveal the page. */
export interface BrowserHeaders {
  readonly host: string
  readonly origin: string | undefined
  readonly fetchSite: string | undefined
}

/** Returns whether a page of another origin caused the request. */
export function isCrossOrigin({ host, origin, fetchSite }: BrowserHeaders): boolean {
  if (fetchSite === 'cross-site' || fetchSite === 'same-site') return true
  if (origin === undefined) return false
  return origin.toLowerCase().replace(/^https?:\/\//, '') !== host.toLowerCase()
}

/** Returns whether `host` names this machine, so that no DNS server of someone else can have led here. */
export function isLoopbackHost(host: string): boolean {
  const name = normalizeHost(host)
  return name === 'localhost' || name === '::1' || (isIP(name) === 4 && name.startsWith('127.'))
}

/**
 * Returns whether `host` is one that clients of an emulator on loopback send: an address, a name without dots, a
 * virtual host of OSS or of localhost, or one of `cnames`. Any other name may be rebound.
 */
export function isExpectedHost(host: string, cnames: Readonly<Record<string, string>>): boolean {
  const name = normalizeHost(host)
  const domain = name.slice(name.indexOf('.') + 1)
  return (
    !name.includes('.') ||
    isIP(name) !== 0 ||
    isIP(domain) !== 0 ||
    Object.hasOwn(cnames, name) ||
    /\.(localhost|aliyuncs\.com)$/.test(name)
  )
}
