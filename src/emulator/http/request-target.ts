/**
 * Parses the request target exactly as received. The path is never normalised, because `//`, `.` and `..`
 * are legal parts of a key, so `new URL()` must not be used.
 */
import { OssError } from '../oss-error.js'
import { isArgumentError } from '../../util/error-shape.js'

/** A parsed request target. */
export interface RequestTarget {
  /** Host of an absolute-form target (`PUT http://host/key`), else undefined. */
  readonly host: string | undefined
  /** Percent-encoded path with its leading slash. */
  readonly path: string
  /** Decoded parameters. The last of a repeated name wins; `k` and `k=` are both ''. */
  readonly query: ReadonlyMap<string, string>
}

/** Parses `req.url`. Throws 400 InvalidArgument if the query is not valid UTF-8. */
export function parseRequestTarget(raw: string): RequestTarget {
  const absolute = /^https?:\/\/([^/?#]*)/i.exec(raw)
  const rest = absolute ? raw.slice(absolute[0].length) : raw
  const queryStart = rest.indexOf('?')
  const path = queryStart === -1 ? rest : rest.slice(0, queryStart)
  return {
    host: absolute?.[1],
    path: path.startsWith('/') ? path : `/${path}`,
    query: parseQuery(queryStart === -1 ? '' : rest.slice(queryStart + 1)),
  }
}

function parseQuery(raw: string): Map<string, string> {
  const query = new Map<string, string>()
  for (const pair of raw.split('&')) {
    if (pair === '') continue
    const equals = pair.indexOf('=')
    const name = equals === -1 ? pair : pair.slice(0, equals)
    const value = equals === -1 ? '' : pair.slice(equals + 1)
    query.set(decodeQueryComponent(name), decodeQueryComponent(value))
  }
  return query
}

// A plus is a space, as the signatures of the official clients show.
function decodeQueryComponent(text: string): string {
  const decoded = percentDecode(text.replaceAll('+', ' '))
  if (decoded === undefined)
    throw new OssError('InvalidArgument', { message: 'The query string is not valid UTF-8.' })
  return decoded
}

const strictUtf8Decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/**
 * Percent-decodes to text. Keeps a stray `%`. Node passes raw bytes above 0x7f as latin1, so these are
 * treated as bytes, too.
 *
 * @returns undefined if the bytes are not valid UTF-8
 */
export function percentDecode(text: string): string | undefined {
  const bytes = Buffer.from(
    text.replace(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(parseInt(hex, 16))),
    'latin1',
  )
  try {
    return strictUtf8Decoder.decode(bytes)
  } catch (error) {
    if (isArgumentError(error)) return undefined // thrown by the decoder for malformed bytes
    throw error
  }
}

/** Percent-encodes all but the unreserved characters of RFC 3986, with upper-case hex and %20 for a space. */
export function encodeRfc3986(text: string): string {
  return encodeURIComponent(text).replace(
    /[!'()*]/g,
    char => `%${char.charCodeAt(0).toString(16).toUpperCase()}`,
  )
}
