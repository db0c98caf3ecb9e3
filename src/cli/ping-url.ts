/** URL of `--ping`. It may contain a secret in any of its parts but the host, so errors never quote it. */

export const INVALID_PING_URL =
  'Expected an http:// or https:// URL; it is not shown, since it may be a secret.'

/** Whether `text` can be pinged. */
export function isPingUrl(text: string): boolean {
  return /^https?:\/\/[^/]/i.test(text) && URL.canParse(text)
}

/** A request of a ping. */
export interface PingTarget {
  /** URL without user and password. */
  readonly url: string
  /** Header with user and password, if there are any. */
  readonly authorization?: string
  /** The part of the URL that may be shown. */
  readonly origin: string
}

/** Appends `suffix` to the path of a valid URL, and keeps its query. */
export function pingUrl(text: string, suffix: '' | 'start' | 'fail'): PingTarget {
  const url = new URL(text)
  const { origin, username, password } = url
  if (suffix !== '') url.pathname = `${url.pathname.replace(/(?<!\/)\/+$/, '')}/${suffix}`
  const user = `${decodeLeniently(username)}:${decodeLeniently(password)}`
  url.username = ''
  url.password = ''
  url.hash = ''
  return {
    url: url.href,
    origin,
    ...(user === ':' ? {} : { authorization: `Basic ${Buffer.from(user).toString('base64')}` }),
  }
}

/** Decodes `text`, which may contain an unescaped `%`. */
function decodeLeniently(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

/** Hides everything but the server. */
export function redactPingUrl(text: string): string {
  return isPingUrl(text) ? `${new URL(text).origin}/********` : '********'
}
