/** How a worker is, over HTTP, for those who watch over it: `/healthz`, and nothing else. */
import { createServer } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import type { WorkerHealth } from './fleet.js'

export interface HealthServer {
  readonly url: string
  close(): Promise<void>
}

/**
 * Answers with 200 while all is well, with 503 while it stops or Redis does not answer.
 * @throws when it cannot listen there
 */
export async function serveHealth(
  listenOn: { readonly host: string; readonly port: number },
  checkHealth: () => Promise<WorkerHealth>,
): Promise<HealthServer> {
  const server = createServer((request, response) => {
    if (request.method !== 'GET' || request.url !== '/healthz') {
      response.writeHead(404).end()
      return
    }
    const respond = (status: number, body: unknown): void => {
      const headers = { 'content-type': 'application/json', 'cache-control': 'no-store' }
      response.writeHead(status, headers).end(`${JSON.stringify(body)}\n`)
    }
    checkHealth().then(
      health => respond(health.status === 'ok' ? 200 : 503, health),
      () => respond(503, { status: 'unreachable' }),
    )
  })
  server.listen(listenOn.port, listenOn.host)
  await once(server, 'listening') // rejects with what goes wrong
  // It listens on a port, not on a path.
  const { address, family, port } = server.address() as AddressInfo
  return {
    url: `http://${family === 'IPv6' ? `[${address}]` : address}:${port}/healthz`,
    close: async () => {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}
