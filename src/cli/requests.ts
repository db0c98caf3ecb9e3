/**
 * The requests of this process as Node's own diagnostics channels tell of them. Nothing that signs a
 * request is looked at: neither headers nor the values in a query.
 */
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { ClientRequest, IncomingMessage } from 'node:http'

export interface SeenRequest {
  readonly method: string
  /** In OSS's words, such as `UploadPart`. */
  readonly operation: string
  readonly host: string
  /** Decoded path, without its query. */
  readonly path: string
  readonly partNumber?: string
  /** HTTP status, or a system error's code. */
  readonly outcome: number | string
  readonly requestId?: string
  /** ms from the request to the end of its reply. */
  readonly elapsed: number
  /** Bytes of its body. */
  readonly bytes: number
  /** Something that will be tried again, or ends the upload. */
  readonly failed: boolean
}

/** What a channel hands over. */
interface Message {
  readonly request: ClientRequest
  readonly response?: IncomingMessage
  readonly error?: NodeJS.ErrnoException
}

/** Calls `seen` for every request that has ended. @returns how to stop that */
export function watchRequests(seen: (request: SeenRequest) => void): () => void {
  const started = new WeakMap<ClientRequest, number>()
  const onStart = (message: unknown): void => {
    started.set((message as Message).request, performance.now())
  }
  const onEnd = (message: unknown): void => {
    const { request, response, error } = message as Message // the channels' documented form
    const since = started.get(request)
    if (since === undefined) return
    started.delete(request)
    seen(describeRequest(request, response, error, performance.now() - since))
  }
  subscribe('http.client.request.start', onStart)
  for (const name of ENDS) subscribe(name, onEnd)
  return () => {
    unsubscribe('http.client.request.start', onStart)
    for (const name of ENDS) unsubscribe(name, onEnd)
  }
}

const ENDS = ['http.client.response.finish', 'http.client.request.error'] as const

function describeRequest(
  request: ClientRequest,
  response: IncomingMessage | undefined,
  error: NodeJS.ErrnoException | undefined,
  elapsed: number,
): SeenRequest {
  const url = new URL(request.path, 'http://host')
  const { method } = request
  const status = response?.statusCode
  const requestId = response?.headers['x-oss-request-id']
  const partNumber = url.searchParams.get('partNumber')
  return {
    method,
    operation: operationOf(method, url.searchParams),
    host: String(request.getHeader('host') ?? request.host), // that of the bucket, also by address
    path: decode(url.pathname),
    outcome: status ?? error?.code ?? 'ERROR',
    elapsed,
    bytes: Number(request.getHeader('content-length') ?? 0),
    // What is not there is often just what was asked.
    failed: status === undefined || (status >= 400 && !(status === 404 && method !== 'PUT')),
    ...(partNumber === null ? {} : { partNumber }),
    ...(typeof requestId === 'string' ? { requestId } : {}),
  }
}

function operationOf(method: string, query: URLSearchParams): string {
  if (query.has('uploads')) {
    return method === 'POST' ? 'InitiateMultipartUpload' : 'ListMultipartUploads'
  }
  if (query.has('uploadId')) {
    const names: Readonly<Record<string, string>> = {
      PUT: 'UploadPart',
      POST: 'CompleteMultipartUpload',
      DELETE: 'AbortMultipartUpload',
      GET: 'ListParts',
    }
    return names[method] ?? method
  }
  return { PUT: 'PutObject', HEAD: 'HeadObject' }[method] ?? method
}

function decode(path: string): string {
  try {
    return decodeURIComponent(path)
  } catch {
    return path // as it is: not ours
  }
}
