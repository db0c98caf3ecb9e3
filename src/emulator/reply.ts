/**
 * The reply of an operation, before anything is sent. Plain data, so that faults can alter it and the
 * log can count it.
 */
import type { Readable } from 'node:stream'
import type { OssError } from './oss-error.js'
import { xmlDocument, type XmlValue } from './xml.js'

/** Status, headers (names as sent) and body of a response. */
export interface Reply {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  /** Names, in lower case, of common headers to leave out. */
  readonly omitted?: readonly string[]
  /** If it is a stream, `headers` must have its `Content-Length`. */
  readonly body?: string | Buffer | Readable
}

/** Returns a reply without a body. */
export function emptyReply(status: number, headers: Record<string, string> = {}): Reply {
  return { status, headers }
}

/** Returns a 200 with an XML body. */
export function xmlReply(
  root: string,
  content: XmlValue,
  headers: Record<string, string> = {},
): Reply {
  return {
    status: 200,
    headers: { 'Content-Type': 'application/xml', ...headers },
    body: xmlDocument(root, content),
  }
}

/**
 * Returns an error reply in OSS's form. For HEAD the body is empty and the XML is sent in `x-oss-err`
 * (base64), where the official clients expect it.
 */
export function errorReply(
  error: OssError,
  request: { readonly method: string; readonly id: string; readonly host: string },
): Reply {
  const { ec } = error
  const body = xmlDocument('Error', {
    Code: error.code,
    Message: error.message,
    RequestId: request.id,
    HostId: request.host,
    ...error.extra,
    EC: ec,
    RecommendDoc: ec && `https://api.aliyun.com/troubleshoot?q=${ec}`,
  })
  const headers = { ...error.headers, ...(ec === undefined ? {} : { 'x-oss-ec': ec }) }
  if (request.method === 'HEAD')
    return emptyReply(error.status, {
      ...headers,
      'x-oss-err': Buffer.from(body).toString('base64'),
    })
  return {
    status: error.status,
    headers: { ...headers, 'Content-Type': 'application/xml' },
    body,
  }
}
