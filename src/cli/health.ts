/** HTTP health endpoint of a worker, for monitoring. Serves `/healthz` and nothing else. */
import { createServer } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import type { WorkerHealth } from './worker-connections.js'

export interface HealthServer {
  readonly url: string
  close(): Promise<void>
}

/**
 * Starts the endpoint. It replies 200 while the worker is healthy, and 503 while it stops or Redis does not
 * answer.
 * @throws if it cannot listen on the address
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
  await once(server, 'listening') // rejects with the server's error
  // An object, because the server listens on a port, not on a path.
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
