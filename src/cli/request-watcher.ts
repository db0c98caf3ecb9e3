/**
 * Observes the requests of this process through Node's diagnostics channels. Reads nothing that belongs to a
 * signature, neither in headers nor in the query.
 */
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { ClientRequest, IncomingMessage } from 'node:http'

export interface ObservedRequest {
  readonly method: string
  /** OSS's name of the operation, such as `UploadPart`. */
  readonly operation: string
  readonly host: string
  /** Decoded path, without its query. */
  readonly path: string
  readonly partNumber?: string
  /** HTTP status, or the code of a system error. */
  readonly statusOrErrorCode: number | string
  readonly requestId?: string
  /** ms from the request to the end of its reply. */
  readonly elapsed: number
  /** Bytes of the request body. */
  readonly bodyBytes: number
  /** True for a failure that is retried or fails the upload. */
  readonly isFailure: boolean
}

/** User agent of pings, which are not requests to OSS, and whose paths are secret. */
export const PING_USER_AGENT = 'oss-spool-ping'

/** Message of the channels. */
interface ChannelMessage {
  readonly request: ClientRequest
  readonly response?: IncomingMessage
  readonly error?: NodeJS.ErrnoException
}

/** Calls `onRequest` for every finished request. @returns a function that stops watching */
export function watchRequests(onRequest: (request: ObservedRequest) => void): () => void {
  const startTimes = new WeakMap<ClientRequest, number>()
  const onStart = (message: unknown): void => {
    const { request } = message as ChannelMessage
    if (request.getHeader('user-agent') !== PING_USER_AGENT)
      startTimes.set(request, performance.now())
  }
  const onEnd = (message: unknown): void => {
    const { request, response, error } = message as ChannelMessage // as documented for the channels
    const startedAt = startTimes.get(request)
    if (startedAt === undefined) return
    startTimes.delete(request)
    onRequest(toObservedRequest(request, response, error, performance.now() - startedAt))
  }
  subscribe('http.client.request.start', onStart)
  for (const name of END_CHANNELS) subscribe(name, onEnd)
  return () => {
    unsubscribe('http.client.request.start', onStart)
    for (const name of END_CHANNELS) unsubscribe(name, onEnd)
  }
}

const END_CHANNELS = ['http.client.response.finish', 'http.client.request.error'] as const

function toObservedRequest(
  request: ClientRequest,
  response: IncomingMessage | undefined,
  error: NodeJS.ErrnoException | undefined,
  elapsed: number,
): ObservedRequest {
  const url = new URL(request.path, 'http://host')
  const { method } = request
  const status = response?.statusCode
  const requestId = response?.headers['x-oss-request-id']
  const partNumber = url.searchParams.get('partNumber')
  return {
    method,
    operation: inferOperation(method, url.searchParams),
    host: String(request.getHeader('host') ?? request.host), // the bucket's host, even if connected by address
    path: decodePath(url.pathname),
    statusOrErrorCode: status ?? error?.code ?? 'ERROR',
    elapsed,
    bodyBytes: Number(request.getHeader('content-length') ?? 0),
    // A 404 is often the expected answer, but not to a PUT.
    isFailure: status === undefined || (status >= 400 && !(status === 404 && method !== 'PUT')),
    ...(partNumber === null ? {} : { partNumber }),
    ...(typeof requestId === 'string' ? { requestId } : {}),
  }
}

function inferOperation(method: string, query: URLSearchParams): string {
  if (query.has('uploads')) {
    return method === 'POST' ? 'InitiateMultipartUpload' : 'ListMultipartUploads'
  }
  if (query.has('uploadId')) {
    const operationByMethod: Readonly<Record<string, string>> = {
      PUT: 'UploadPart',
      POST: 'CompleteMultipartUpload',
      DELETE: 'AbortMultipartUpload',
      GET: 'ListParts',
    }
    return operationByMethod[method] ?? method
  }
  return { PUT: 'PutObject', HEAD: 'HeadObject' }[method] ?? method
}

function decodePath(path: string): string {
  try {
    return decodeURIComponent(path)
  } catch {
    return path // malformed encoding: not our request, show it as is
  }
}
