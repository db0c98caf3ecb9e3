/** The HTTP or HTTPS server, with a pacer per connection. */
import { createServer, type IncomingMessage, type RequestListener, type Server } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import type { EmulatorContext } from './emulator-context.js'
import { closeAfterLinger, handleRequest } from './handle-request.js'
import { hasAmbiguousLength, isWellFormed } from './http/framing.js'
import type { ConnectionPacer } from './simulated-network.js'
import { OssError } from './oss-error.js'
import type { EmulatorOptions } from './options.js'
import { errorReply } from './reply.js'

/** A server that accepts connections. */
export interface HttpServer {
  readonly endpoint: string
  readonly host: string
  readonly port: number
  /** Closes all connections; resolves when no request is in progress. */
  close(): Promise<void>
}

/** State of a client's connection. */
interface ConnectionState {
  readonly pacer: ConnectionPacer
  /** Settles when the previous request of this connection is done. */
  previousRequest: Promise<void>
  /** The newest request, whose body may not be complete yet. */
  newestRequest?: IncomingMessage
  /** Settles when the requests before the newest one are done. */
  beforeNewest: Promise<void>
  /** Whether further requests of this connection are ignored. */
  isClosing: boolean
}

const SERVER_OPTIONS = {
  requestTimeout: 0, // slow uploads are legitimate; idle ones are handled by `idleTimeout`
  headersTimeout: 60_000,
  keepAliveTimeout: 60_000,
  maxHeaderSize: 64 * 1024,
  noDelay: true,
  insecureHTTPParser: true, // see http/framing.ts
}

/** Starts the server; resolves when it listens. */
export async function startServer(
  emulator: EmulatorContext,
  options: EmulatorOptions,
): Promise<HttpServer> {
  const { host = '127.0.0.1', port = 0, tls } = options
  const connections = new WeakMap<Socket, ConnectionState>()
  const activeRequests = new Set<Promise<void>>()

  const createListener =
    (expectsContinue: boolean): RequestListener =>
    (request, response) => {
      const connection = connectionStateOf(request.socket)
      if (connection.isClosing) return
      if (!isWellFormed(request))
        return refuseNext(connection, request.socket, new OssError('BadRequest'))
      connection.newestRequest = request
      if (hasAmbiguousLength(request)) response.shouldKeepAlive = false
      if (!response.shouldKeepAlive) connection.isClosing = true
      const { pacer, previousRequest } = connection
      connection.beforeNewest = previousRequest
      // serve pipelined requests one at a time
      const handled = previousRequest.then(() =>
        handleRequest(emulator, { request, response, pacer, expectsContinue }),
      )
      connection.previousRequest = handled
      activeRequests.add(handled)
      void handled.finally(() => activeRequests.delete(handled))
    }
  const connectionStateOf = (socket: Socket): ConnectionState => {
    const existingState = connections.get(socket)
    const connection = existingState ?? {
      pacer: emulator.network.createPacer(),
      previousRequest: Promise.resolve(),
      beforeNewest: Promise.resolve(),
      isClosing: false,
    }
    connections.set(socket, connection)
    return connection
  }

  const server: Server = tls
    ? createTlsServer({ ...SERVER_OPTIONS, key: tls.key, cert: tls.cert })
    : createServer(SERVER_OPTIONS)
  server.maxHeadersCount = 0 // `maxHeaderSize` limits them; those beyond a number would be ignored
  const sockets = new Set<Socket>()
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
  })
  server.on('request', createListener(false))
  server.on('checkContinue', createListener(true))
  server.on('clientError', (error: ClientError, socket: Socket) => {
    const connection = connectionStateOf(socket)
    const isMidRequest = connection.newestRequest?.complete === false
    if (error.code === 'ECONNRESET' || !socket.writable) socket.destroy()
    else if (isMidRequest)
      void connection.beforeNewest.then(() => refuse(socket, toOssError(error)))
    else if (!connection.isClosing) refuseNext(connection, socket, toOssError(error))
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, () => {
      server.off('error', reject)
      resolve()
    })
  })
  // never a string: the server listens on TCP, not on a pipe
  const address = server.address() as AddressInfo
  const hostPart = address.family === 'IPv6' ? `[${address.address}]` : address.address
  return {
    endpoint: `${tls ? 'https' : 'http'}://${wildcardToLoopback(hostPart)}:${address.port}`,
    host,
    port: address.port,
    async close() {
      const closed = new Promise(resolve => server.close(resolve))
      for (const socket of sockets) socket.destroy() // also those in a TLS handshake
      await Promise.all(activeRequests)
      await closed
    },
  }
}

/** Maps a wildcard address to the loopback address under which local clients reach it. */
function wildcardToLoopback(address: string): string {
  if (address === '0.0.0.0') return '127.0.0.1'
  return address === '[::]' ? '127.0.0.1' : address // `::` accepts IPv4 too, which all clients support
}

/** An error of the HTTP parser or the socket. */
type ClientError = Error & { readonly code?: string }

const toOssError = ({ code }: ClientError): OssError =>
  new OssError(code === 'HPE_INVALID_EOF_STATE' ? 'IncompleteBody' : 'BadRequest')

/** Refuses what follows the requests of a connection, after their replies: clients match replies by their order. */
function refuseNext(connection: ConnectionState, socket: Socket, error: OssError): void {
  connection.isClosing = true
  void connection.previousRequest.then(() => refuse(socket, error))
}

/** Answers a request that is not valid HTTP or ends in the middle of its body. */
function refuse(socket: Socket, error: OssError): void {
  const { status, body } = errorReply(error, { method: '', id: '', host: '' })
  if (socket.writable)
    socket.end(
      `HTTP/1.1 ${status} Bad Request\r\nServer: AliyunOSS\r\nConnection: close\r\n` +
        `Content-Type: application/xml\r\n\r\n${typeof body === 'string' ? body : ''}`,
    )
  closeAfterLinger(socket)
}
