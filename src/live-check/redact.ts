/**
 * Removes secrets from exchanges. Fields that carry secrets are hidden by their names; the values that were sent in them
 * are then masked wherever else they occur, since servers echo requests.
 */
import { SecretMask } from '../util/secret-mask.js'
import type { Exchange } from './exchange.js'

const HIDDEN = '***'

const SECRET_HEADERS =
  /^(authorization|proxy-authorization|x-oss-security-token|cookie|set-cookie)$/i
const SECRET_PARAMETERS =
  /([?&](?:x-oss-signature|x-oss-credential|(?:x-oss-)?security-token|signature|ossaccesskeyid)=)([^&]*)/gi
const SECRET_ELEMENTS =
  /<(SignatureProvided|StringToSign(?:Bytes)?|CanonicalRequest(?:Bytes)?|OSSAccessKeyId|SecurityToken)>[^]*?(<\/\1>|$)/g

/** @param secrets – secrets of this client that it does not send */
export function redact(exchange: Exchange, secrets: Iterable<string>): Exchange {
  const mask = new SecretMask()
  mask.add(...sentSecrets(exchange), ...secrets)
  const clean = (text: string): string =>
    mask.mask(text.replaceAll(SECRET_ELEMENTS, `<$1>${HIDDEN}</$1>`))
  const cleanHeaders = (headers: Readonly<Record<string, string>>): Record<string, string> =>
    Object.fromEntries(
      Object.entries(headers).map(([name, value]) => [
        name,
        SECRET_HEADERS.test(name) ? HIDDEN : clean(readable(name, value)),
      ]),
    )
  return {
    ...exchange,
    url: clean(exchange.url.replaceAll(SECRET_PARAMETERS, `$1${HIDDEN}`)),
    requestHeaders: cleanHeaders(exchange.requestHeaders),
    requestBody: clean(exchange.requestBody),
    replyHeaders: cleanHeaders(exchange.replyHeaders),
    replyBody: clean(exchange.replyBody),
    ...(exchange.failure === undefined ? {} : { failure: clean(exchange.failure) }),
  }
}

/** Decodes the XML of an error that a reply to HEAD has in a header, where secrets would be hard to find. */
function readable(name: string, value: string): string {
  return name === 'x-oss-err' ? Buffer.from(value, 'base64').toString() : value
}

/** Returns the signature, the key and the token that a request was sent with. */
function sentSecrets({ url, requestHeaders }: Exchange): string[] {
  const values = Object.entries(requestHeaders).flatMap(([name, value]) =>
    SECRET_HEADERS.test(name) ? [value] : [],
  )
  const parameters = [...url.matchAll(SECRET_PARAMETERS)].map(([, , value = '']) =>
    decodeURIComponent(value),
  )
  return [...values, ...parameters].flatMap(value => {
    const [, key, signature] =
      /^OSS4-HMAC-SHA256 Credential=([^/,]+)[^]*Signature=(\w+)$/.exec(value) ??
      /^OSS ([^:]+):(.+)$/.exec(value) ??
      []
    if (key !== undefined && signature !== undefined) return [key, signature]
    // The credential of a presigned URL names the day and the region, which are no secrets.
    return [value.includes('/aliyun_v4_request') ? value.slice(0, value.indexOf('/')) : value]
  })
}
