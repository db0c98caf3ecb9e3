/** HTTP endpoint of a worker for monitoring: a few paths, such as `/healthz`. */
import { createServer, type ServerResponse } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { isHealthy, type WorkerHealth } from './worker-health.js'

export interface HealthServer {
  /** URL of `/healthz`. */
  readonly url: string
  close(): Promise<void>
}

/** Reply to a request. */
export interface RouteReply {
  readonly status: number
  readonly contentType: string
  readonly body: string
}

/** Produces the reply of one path. A rejection is a 503 without details. */
export type Route = () => Promise<RouteReply>

/** Replies 200 while the worker works, and 503 while it stops or Redis does not answer. */
export function healthRoute(checkHealth: () => Promise<WorkerHealth>): Route {
  return async () => {
    const health = await checkHealth().catch(() => ({ status: 'unreachable' as const }))
    return {
      status: isHealthy(health.status) ? 200 : 503,
      contentType: 'application/json',
      body: `${JSON.stringify(health)}\n`,
    }
  }
}

/**
 * Starts the endpoint.
 * @param routes – by path, such as `/healthz`
 * @throws if it cannot listen on the address
 */
export async function serveHealth(
  listenOn: { readonly host: string; readonly port: number },
  routes: ReadonlyMap<string, Route>,
): Promise<HealthServer> {
  const server = createServer((request, response) => {
    const [path = ''] = (request.url ?? '').split('?', 1)
    const route = request.method === 'GET' ? routes.get(path) : undefined
    if (route === undefined) response.writeHead(404).end()
    else void respond(response, route)
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

async function respond(response: ServerResponse, route: Route): Promise<void> {
  const failed = { status: 503, contentType: 'text/plain', body: '' }
  const { status, contentType, body } = await route().catch(() => failed)
  response.writeHead(status, { 'content-type': contentType, 'cache-control': 'no-store' }).end(body)
}
