/** The sockets: HTTP or HTTPS, a lane of the line for each connection, an end for all of them. */
import { createServer, type IncomingMessage, type RequestListener, type Server } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import type { Emulation } from './emulation.js'
import { serve } from './exchange.js'
import type { Lane } from './link.js'
import { OssError } from './oss-error.js'
import type { EmulatorOptions } from './options.js'
import { errorReply } from './reply.js'

/** A server that accepts connections. */
export interface Listening {
  readonly endpoint: string
  readonly host: string
  readonly port: number
  /** Ends all connections; resolves when no request is under way any more. */
  close(): Promise<void>
}

/** A client's connection. */
interface Connection {
  readonly lane: Lane
  /** The end of the request before. */
  before: Promise<void>
}

const SERVER_OPTIONS = {
  requestTimeout: 0, // a slow upload is not an attack here; silence is dealt with elsewhere
  headersTimeout: 60_000,
  keepAliveTimeout: 60_000,
  maxHeaderSize: 64 * 1024,
  noDelay: true,
}

/** Starts to listen. */
export async function listen(emulation: Emulation, options: EmulatorOptions): Promise<Listening> {
  const { host = '127.0.0.1', port = 0, tls } = options
  const connections = new WeakMap<Socket, Connection>()
  const active = new Set<Promise<void>>()

  const handle =
    (expectsContinue: boolean): RequestListener =>
    (request, response) => {
      const connection = connectionOf(request)
      const { lane, before } = connection
      // requests that were pipelined are served one after the other
      const exchange = before.then(() =>
        serve(emulation, { request, response, lane, expectsContinue }),
      )
      connection.before = exchange
      active.add(exchange)
      void exchange.finally(() => active.delete(exchange))
    }
  const connectionOf = ({ socket }: IncomingMessage): Connection => {
    const known = connections.get(socket)
    const connection = known ?? { lane: emulation.line.lane(), before: Promise.resolve() }
    connections.set(socket, connection)
    return connection
  }

  const server: Server = tls
    ? createTlsServer({ ...SERVER_OPTIONS, key: tls.key, cert: tls.cert })
    : createServer(SERVER_OPTIONS)
  server.on('request', handle(false))
  server.on('checkContinue', handle(true))
  server.on('clientError', refuseGarbage)
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, () => {
      server.off('error', reject)
      resolve()
    })
  })
  // a TCP server has an address, not a pipe's name
  const address = server.address() as AddressInfo
  const name = address.family === 'IPv6' ? `[${address.address}]` : address.address
  return {
    endpoint: `${tls ? 'https' : 'http'}://${anyToLoopback(name)}:${address.port}`,
    host,
    port: address.port,
    async close() {
      const closed = new Promise(resolve => server.close(resolve))
      server.closeAllConnections()
      await Promise.all(active)
      await closed
    },
  }
}

/** Where a client on this machine reaches a server that listens on all addresses. */
function anyToLoopback(address: string): string {
  if (address === '0.0.0.0') return '127.0.0.1'
  return address === '[::]' ? '[::1]' : address
}

/** What is no HTTP, or ends in the middle of a body. */
function refuseGarbage(error: NodeJS.ErrnoException, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy()
    return
  }
  const refusal = new OssError(
    error.code === 'HPE_INVALID_EOF_STATE' ? 'IncompleteBody' : 'BadRequest',
  )
  const { status, body } = errorReply(refusal, { method: '', id: '', host: '' })
  socket.end(
    `HTTP/1.1 ${status} Bad Request\r\nServer: AliyunOSS\r\nConnection: close\r\n` +
      `Content-Type: application/xml\r\n\r\n${typeof body === 'string' ? body : ''}`,
  )
}
