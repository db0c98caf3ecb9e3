/**
 * A server that does as it likes: it reads a request and writes what a test tells it to, byte for byte,
 * or hands the connection to the emulator as if nothing had happened.
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

/** What is written for a request; `undefined`: the connection goes on to the emulator. */
export type Respond = (request: Request, socket: net.Socket) => string | Buffer | void

export interface HostileServer {
  readonly port: number
  readonly endpoint: string
  /** All that was asked. */
  readonly requests: Request[]
  /** `undefined`: behaves. */
  respond: Respond | undefined
}

/** @param behind port of the emulator that answers while `respond` is not set */
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

async function serve(socket: net.Socket, respond: Respond, seen: Request[]): Promise<void> {
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
    return // the client went away
  }
  const head = bytes.toString('latin1', 0, bytes.indexOf('\r\n\r\n'))
  const [, method = '', url = ''] = /^(\S+) (\S+)/.exec(head) ?? []
  const request = { method, url, head }
  seen.push(request)
  socket.resume()
  const reply = respond(request, socket)
  if (reply !== undefined) socket.end(reply)
}

/** A reply as HTTP has it. */
export function reply(status: number, body: string, headers: Record<string, string> = {}): string {
  const all = { Connection: 'close', 'x-oss-request-id': '5C06A3B67B8B5A3DA422299D', ...headers }
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`)
  return `HTTP/1.1 ${status} X\r\nContent-Length: ${Buffer.byteLength(body)}\r\n${lines.join('')}\r\n${body}`
}

/** Writes `piece` again and again, as fast as it is taken, or every `ms`. */
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
