/**
 * A hostile server. Reads a request and writes the bytes that a test chooses, or forwards the connection to an
 * emulator.
 */
import { once } from 'node:events'
import * as net from 'node:net'
import type { Test } from 'tap'

export interface Request {
  readonly method: string
  readonly url: string
  /** Request line and headers. */
  readonly head: string
}

/** Returns the bytes to answer a request with. After `undefined`, the connection stays open. */
export type Respond = (request: Request, socket: net.Socket) => string | Buffer | void

export interface HostileServer {
  readonly port: number
  readonly endpoint: string
  /** All requests that were answered by `respond`. */
  readonly requests: Request[]
  /** Set to misbehave. If `undefined`, connections are forwarded to the emulator. */
  respond: Respond | undefined
}

/** @param behind – port of the emulator that answers while `respond` is not set */
export async function hostileServer(t: Test, behind?: number): Promise<HostileServer> {
  const sockets = new Set<net.Socket>()
  const server = net.createServer(socket => {
    sockets.add(socket)
    socket.on('error', () => {}).on('close', () => sockets.delete(socket))
    const { respond } = hostile
    if (respond !== undefined) {
      void serve(socket, respond, hostile.requests)
      return
    }
    const emulator = net.connect(behind ?? 0, '127.0.0.1')
    sockets.add(emulator)
    emulator.on('error', () => socket.destroy())
    socket.on('close', () => emulator.destroy())
    socket.pipe(emulator).pipe(socket)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as net.AddressInfo // it listens on TCP
  const endpoint = `http://127.0.0.1:${port}`
  const hostile: HostileServer = { port, endpoint, requests: [], respond: undefined }
  t.teardown(() => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  return hostile
}

async function serve(socket: net.Socket, respond: Respond, requests: Request[]): Promise<void> {
  let bytes = Buffer.alloc(0)
  try {
    for await (const chunk of socket.iterator({ destroyOnReturn: false })) {
      bytes = Buffer.concat([bytes, chunk as Buffer]) // a socket without an encoding
      const end = bytes.indexOf('\r\n\r\n')
      const head = bytes.toString('latin1', 0, end)
      const length = Number(/^content-length: *(\d+)/im.exec(head)?.[1] ?? 0)
      if (end >= 0 && bytes.length >= end + 4 + length) break
    }
  } catch {
    return // the client closed the connection
  }
  const head = bytes.toString('latin1', 0, bytes.indexOf('\r\n\r\n'))
  const [, method = '', url = ''] = /^(\S+) (\S+)/.exec(head) ?? []
  const request = { method, url, head }
  requests.push(request)
  socket.resume()
  const reply = respond(request, socket)
  if (reply !== undefined) socket.end(reply)
}

/** Returns a well-formed HTTP response. */
export function reply(status: number, body: string, headers: Record<string, string> = {}): string {
  const all = { Connection: 'close', 'x-oss-request-id': '5C06A3B67B8B5A3DA422299D', ...headers }
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`)
  return `HTTP/1.1 ${status} X\r\nContent-Length: ${Buffer.byteLength(body)}\r\n${lines.join('')}\r\n${body}`
}

/** Writes `first`, then `piece` repeatedly: as fast as the client reads, or every `ms` milliseconds. */
export function writeForever(socket: net.Socket, first: string, piece: string, ms?: number): void {
  socket.write(first)
  const more = (): void => {
    if (socket.destroyed) return
    if (ms !== undefined) return void setTimeout(() => socket.write(piece, more), ms)
    if (socket.write(piece)) setImmediate(more)
    else socket.once('drain', more)
  }
  more()
}
