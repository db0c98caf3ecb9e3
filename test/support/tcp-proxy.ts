/** A TCP proxy whose link can be cut without closing any connection, as when packets are lost. */
import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import type { Test } from 'tap'

export class TcpProxy {
  readonly port: number
  /** Port to which new connections are forwarded. */
  target: number
  readonly #sockets = new Set<Socket>()
  #isCut = false

  private constructor(port: number, target: number) {
    this.port = port
    this.target = target
  }

  /** Forwards a free loopback port to `target` until the test ends. */
  static async open(t: Test, target: number): Promise<TcpProxy> {
    const server = createServer(client => proxy.#forward(client))
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    // An AddressInfo, because it listens on a port and not on a path.
    const { port } = server.address() as AddressInfo
    const proxy = new TcpProxy(port, target)
    t.teardown(() => {
      for (const socket of proxy.#sockets) socket.destroy()
      server.close()
    })
    return proxy
  }

  /** Forwards nothing from now on. New connections are accepted and stay silent. */
  cut(): void {
    this.#isCut = true
    for (const socket of this.#sockets) socket.pause()
  }

  /** Delivers what was sent meanwhile, and forwards again. */
  heal(): void {
    this.#isCut = false
    for (const socket of this.#sockets) socket.resume()
  }

  #forward(client: Socket): void {
    const server = connect(this.target, '127.0.0.1')
    for (const [from, to] of [
      [client, server],
      [server, client],
    ] as const) {
      this.#sockets.add(from)
      from.on('data', data => {
        to.write(data)
      })
      from.on('error', () => {}) // followed by `close`
      from.on('close', () => {
        this.#sockets.delete(from)
        to.destroy()
      })
      if (this.#isCut) from.pause()
    }
  }
}
