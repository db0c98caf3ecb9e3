/**
 * Callbacks. After PutObject or Complete, OSS calls the user's server and forwards its response. The
 * emulator calls loopback addresses only, because tests must not reach other machines.
 */
import { invalidArgument, OssError } from '../oss-error.js'
import type { Reply } from '../reply.js'
import { isLoopback } from '../http/browser-guard.js'
import { normalizeHost } from '../http/bucket-address.js'
import { percentDecode } from '../http/request-target.js'
import { PUBLIC_KEY_PATH } from '../callback-key.js'
import type { ObjectRecord } from '../store/record.js'
import { postCallback } from './callback-request.js'
import type { OperationContext } from './operation-context.js'
import { errorMessage } from '../../util/error-shape.js'

const MAX_CALLBACK_HEADER_BYTES = 5 * 1024

/** A parsed callback configuration. */
interface Callback {
  readonly urls: readonly URL[]
  /** Value of the Host header; undefined for that of the URL. */
  readonly host: string | undefined
  readonly body: string
  readonly contentType: string
  readonly variables: Readonly<Record<string, string>>
}

/** Properties of the object that the callback can send to the user's server. */
type CallbackObject = Pick<ObjectRecord, 'etag' | 'size' | 'crc64' | 'headers'>

/**
 * Parses the callback of a request; throws 400 InvalidArgument if it is malformed.
 *
 * @returns a function that calls back once the object is stored, and turns OSS's own reply into the final one
 */
export function prepareCallback(
  context: OperationContext,
): (reply: Reply, object: CallbackObject) => Promise<Reply> {
  const callback = parseCallback(context)
  if (callback === undefined) return reply => Promise.resolve(reply)
  return async (reply, object) => {
    const body = await sendCallback(
      callback,
      expandCallbackBody(callback, context, object),
      context,
    )
    return { ...reply, headers: { ...reply.headers, 'Content-Type': 'application/json' }, body }
  }
}

function parseCallback({ headers, query }: OperationContext): Callback | undefined {
  const header = headers.get('x-oss-callback')
  const parameter = query.get('callback')
  if (header !== undefined && parameter !== undefined) throw invalidCallback('callback', parameter)
  const text = header ?? parameter
  if (text === undefined) return undefined
  const { callbackUrl, callbackBody, callbackBodyType, callbackHost } = decodeBase64Json(text)
  if (callbackUrl === undefined || callbackBody === undefined)
    throw invalidCallback('callback', text)
  const contentType = callbackBodyType ?? 'application/x-www-form-urlencoded'
  const variables = headers.get('x-oss-callback-var') ?? query.get('callback-var')
  return {
    urls: callbackUrl.split(';').map(url => parseLoopbackUrl(url, text)),
    host: callbackHost,
    body: callbackBody,
    contentType,
    variables: variables === undefined ? {} : decodeBase64Json(variables),
  }
}

const invalidCallback = (name: string, value: string): OssError =>
  invalidArgument(name, value, 'The callback configuration is not json format.')

function decodeBase64Json(
  base64: string,
): Partial<Record<string, string>> & Record<string, string> {
  if (base64.length > MAX_CALLBACK_HEADER_BYTES) throw invalidCallback('callback', base64)
  let value: unknown
  try {
    value = JSON.parse(Buffer.from(base64, 'base64').toString())
  } catch {
    throw invalidCallback('callback', base64)
  }
  if (typeof value !== 'object' || value === null) throw invalidCallback('callback', base64)
  const texts = Object.entries(value).map(([name, text]) => [name, String(text)] as const)
  return Object.fromEntries(texts)
}

function parseLoopbackUrl(text: string, callbackText: string): URL {
  const url = URL.parse?.(text) ?? (URL.canParse(text) ? new URL(text) : null)
  if (url === null || !/^https?:$/.test(url.protocol))
    throw invalidCallback('callback', callbackText)
  if (!isLoopback(normalizeHost(url.host)))
    throw invalidArgument(
      'callbackUrl',
      text,
      'The emulator calls back to loopback addresses only.',
    )
  return url
}

/** Returns the body with its variables replaced, encoded as form values or as JSON. */
function expandCallbackBody(
  { body, contentType, variables }: Callback,
  { bucket, key, connection, request }: OperationContext,
  object: CallbackObject,
): string {
  const isJson = contentType.startsWith('application/json')
  const values: Readonly<Record<string, string | number>> = {
    bucket,
    object: key,
    etag: object.etag,
    size: object.size,
    mimeType: object.headers['content-type'] ?? '',
    crc64: object.crc64 ?? '',
    operation: request.operation,
    clientIp: connection.clientIp,
    reqId: request.id,
    ...variables,
  }
  return body.replace(/\$\{([^}]*)\}/g, (_, name: string) => {
    const value = (Object.hasOwn(values, name) ? values[name] : undefined) ?? ''
    return isJson ? JSON.stringify(value) : encodeURIComponent(value)
  })
}

async function sendCallback(
  callback: Callback,
  body: string,
  { callbackKey, connection }: OperationContext,
): Promise<Buffer> {
  const publicKeyUrl = Buffer.from(`${connection.endpoint}${PUBLIC_KEY_PATH}`).toString('base64')
  let reason = 'no address'
  for (const url of callback.urls) {
    const path = percentDecode(url.pathname) ?? url.pathname
    const headers = {
      ...(callback.host === undefined ? {} : { Host: callback.host }),
      'Content-Type': callback.contentType,
      authorization: await callbackKey.sign(`${path}${url.search}\n${body}`),
      'x-oss-pub-key-url': publicKeyUrl,
    }
    try {
      const response = await postCallback(url, headers, body)
      if (response.status === 200) return checkJson(response.body)
      reason = String(response.status)
    } catch (error) {
      if (error instanceof OssError) throw error
      reason = errorMessage(error)
    }
  }
  throw new OssError('CallbackFailed', { message: `Error status : ${reason}.` })
}

/** Throws 203 CallbackFailed unless the response is JSON. */
function checkJson(response: Buffer): Buffer {
  try {
    JSON.parse(response.toString())
    return response
  } catch {
    const message = 'Response body is not valid json format.'
    throw new OssError('CallbackFailed', { message, ec: '0007-00000205' })
  }
}
