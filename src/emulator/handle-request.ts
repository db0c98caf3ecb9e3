/**
 * Handles one request from its first header to the last byte of its reply. The order is fixed: link
 * latency, addressing and authentication, matching faults, authorization, the operation, draining the
 * rest of the body, the reply. Never throws: an internal failure is answered 500 InternalError.
 */
import { randomBytes } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { Readable } from 'node:stream'
import type { EmulatorContext } from './emulator-context.js'
import { ResetConnectionError, ReplaceReplyError, ActiveFaults } from './faults/active-faults.js'
import { headerMap } from './http/headers.js'
import { ClientDisconnectedError, RequestBody } from './request-body.js'
import type { ConnectionPacer } from './simulated-network.js'
import { OssError } from './oss-error.js'
import { dispatch, type RequestContext } from './dispatch.js'
import type { RequestConnection } from './operations/operation-context.js'
import { errorReply, type Reply } from './reply.js'
import { logRequest, type RequestRecord } from './request-log.js'
import { sendReply } from './send.js'

/** Bodies of refused requests are drained up to this many bytes; longer ones close the connection. */
const MAX_DRAIN_BYTES = 256 * 1024 * 1024

/** How long, in ms, a connection that is about to be closed still accepts data from the client. */
const LINGER_TIMEOUT_MS = 1000

/** A request as received, with its response. */
export interface IncomingRequest {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly pacer: ConnectionPacer
  /** Whether the client waits for `100 Continue` before sending its body. */
  readonly expectsContinue: boolean
}

/** Handles one request. Never rejects. */
export async function handleRequest(
  emulator: EmulatorContext,
  incoming: IncomingRequest,
): Promise<void> {
  const { request, response, pacer } = incoming
  const requestContext = createRequestContext(emulator, incoming)
  const { logEntry, activeFaults } = requestContext
  let openBody: Reply['body']
  try {
    await emulator.network.waitLatency()
    const originalReply = await withErrorReply(requestContext, () => dispatch(requestContext))
    openBody = originalReply.body
    const { reply, closeConnection } = await finishRequest(requestContext, originalReply)
    logEntry.status = reply.status
    const now = Date.now() + activeFaults.clockSkewMs
    await sendReply(reply, {
      response,
      logEntry,
      activeFaults,
      pacer,
      now,
      closeConnection,
    })
    if (closeConnection) closeAfterLinger(request.socket)
  } catch (error) {
    // only the connection is left to close: the client is gone, a fault cut it, or we failed
    if (error instanceof ResetConnectionError) error.resetSocket(request.socket)
    else if (!(error instanceof ClientDisconnectedError) && !request.socket.destroyed)
      emulator.reportError(error)
    response.destroy()
    request.socket.destroy()
  } finally {
    // a fault may have replaced the reply, or the client may be gone
    if (openBody instanceof Readable) openBody.destroy()
  }
}

function createRequestContext(
  emulator: EmulatorContext,
  incoming: IncomingRequest,
): RequestContext {
  const { request, response, pacer, expectsContinue } = incoming
  const headers = headerMap(request.rawHeaders)
  const logEntry: RequestRecord = {
    id: randomBytes(12).toString('hex').toUpperCase(),
    time: Date.now(),
    method: request.method ?? '',
    operation: 'Unknown',
    bytes: 0,
    sent: 0,
  }
  logRequest(emulator.requests, logEntry, emulator.settings.maxRequests)
  const activeFaults = new ActiveFaults(emulator, logEntry)
  const body = new RequestBody(request, {
    idleTimeout: emulator.settings.idleTimeout,
    onStart: () => {
      if (expectsContinue) response.writeContinue()
    },
    onChunk: bytes => {
      logEntry.bytes += bytes
      return pacer.pace('up', bytes, activeFaults.bandwidth)
    },
    onProgress: (bytes, total) => activeFaults.fireWithin('body', bytes, total),
    onEnd: () => activeFaults.fire('received'),
  })
  return {
    emulator,
    url: request.url ?? '/',
    headers,
    connection: connectionOf(request.socket),
    body,
    logEntry,
    activeFaults,
  }
}

function connectionOf(socket: Socket): RequestConnection {
  const { remoteAddress = '', localAddress = '', localPort = 0 } = socket
  const localHost = localAddress.replace(/^::ffff:/, '')
  const host = localHost.includes(':') ? `[${localHost}]` : localHost
  return {
    clientIp: remoteAddress.replace(/^::ffff:/, ''),
    endpoint: `${'encrypted' in socket ? 'https' : 'http'}://${host}:${localPort}`,
  }
}

/** Drains the body and applies the faults that follow. Resolves with the reply to send. */
async function finishRequest(
  requestContext: RequestContext,
  originalReply: Reply,
): Promise<{ reply: Reply; closeConnection: boolean }> {
  const { activeFaults, body } = requestContext
  let closeConnection = true // unless the body was drained
  const reply = await withErrorReply(requestContext, async () => {
    closeConnection = !(await body.drain(MAX_DRAIN_BYTES))
    await activeFaults.fire('done')
    return activeFaults.transformReply(originalReply)
  })
  return { reply, closeConnection }
}

/** Runs `work`, turning an error into a reply where there is one. */
async function withErrorReply(
  requestContext: RequestContext,
  work: () => Promise<Reply>,
): Promise<Reply> {
  const { emulator, logEntry, headers } = requestContext
  try {
    return await work()
  } catch (error) {
    if (error instanceof ReplaceReplyError) return error.reply
    if (error instanceof ResetConnectionError || error instanceof ClientDisconnectedError)
      throw error
    if (!(error instanceof OssError)) emulator.reportError(error)
    const ossError = error instanceof OssError ? error : new OssError('InternalError')
    logEntry.code = ossError.code
    const host = headers.get('host') ?? ''
    return errorReply(ossError, { method: logEntry.method, id: logEntry.id, host })
  }
}

/** Closes the connection after a delay, so that the client can read the reply: a reset would discard it. */
export function closeAfterLinger(socket: Socket): void {
  socket.resume()
  setTimeout(() => socket.destroy(), LINGER_TIMEOUT_MS).unref()
}
