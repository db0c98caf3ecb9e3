/**
 * The admin port: JSON over HTTP for tests in other processes. Listens on 127.0.0.1 only and rejects
 * requests that a browser sent or whose Host is not loopback, so that no web page can use it.
 */
import { randomUUID } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { EmulatorContext } from './emulator-context.js'
import { checkFault } from './faults/check-fault.js'
import type { FaultHandle } from './faults/fault.js'
import { advanceClock } from './lifecycle.js'
import { isNonNegativeInteger } from './field-checks.js'
import { normalizeHost } from './http/bucket-address.js'
import { isLoopback } from './http/browser-guard.js'
import { checkLinkOptions } from './simulated-network.js'
import { errorMessage, isArgumentError } from '../util/error-shape.js'

/** An open admin port. */
export interface AdminServer {
  readonly endpoint: string
  close(): Promise<void>
}

interface AdminRequest {
  readonly id: string
  readonly query: URLSearchParams
  readonly body: unknown
  readonly emulator: EmulatorContext
  readonly faultHandles: Map<string, FaultHandle>
}

type AdminHandler = (request: AdminRequest) => unknown

const MAX_ADMIN_BODY_BYTES = 1024 * 1024

/** Handlers by method and path; `:` stands for an id. */
const ADMIN_ROUTES: Readonly<Record<string, AdminHandler>> = {
  'GET /faults': ({ faultHandles }) =>
    [...faultHandles].map(([id, handle]) => toFaultJson(id, handle)),
  'POST /faults': ({ body, emulator, faultHandles }) => {
    const id = randomUUID()
    const handle = emulator.faultTable.inject(checkFault(body))
    faultHandles.set(id, handle)
    return toFaultJson(id, handle)
  },
  'DELETE /faults': ({ emulator, faultHandles }) => {
    emulator.faultTable.clear()
    faultHandles.clear()
    return {}
  },
  'GET /faults/:': async request => {
    const handle = requireFaultHandle(request)
    const hits = Number(request.query.get('hits') ?? 0)
    if (!isNonNegativeInteger(hits))
      throw new AdminRequestError(400, 'The parameter hits must be an integer >= 0')
    if (hits > 0) await handle.hit(hits)
    return toFaultJson(request.id, handle)
  },
  'POST /faults/:/release': request => {
    requireFaultHandle(request).release()
    return {}
  },
  'DELETE /faults/:': request => {
    requireFaultHandle(request).remove()
    request.faultHandles.delete(request.id)
    return {}
  },
  'GET /link': ({ emulator }) => emulator.network.link,
  'PUT /link': ({ body, emulator }) => (emulator.network.link = checkLinkOptions(body)),
  'GET /requests': ({ emulator }) => emulator.requests,
  'DELETE /requests': ({ emulator }) => {
    emulator.requests.length = 0
    return {}
  },
  'POST /advance': async ({ body, emulator }) => {
    await advanceClock(emulator, readField(body, 'ms', 0))
    return {}
  },
  'POST /sts': ({ body, emulator }) =>
    emulator.credentialStore.sts.issue(readField(body, 'seconds', 3600)),
  'POST /sts/expire': ({ body, emulator }) => {
    emulator.credentialStore.sts.expire(readField(body, 'token', ''))
    return {}
  },
  'POST /sts/revoke': ({ body, emulator }) => {
    emulator.credentialStore.sts.revoke(readField(body, 'token', ''))
    return {}
  },
}

/** A rejected admin request and its HTTP status. */
class AdminRequestError extends Error {
  readonly status: number
  constructor(status: number, message: string) {
    super(message)
    this.status = status
  }
}

/**
 * Opens the admin port.
 *
 * @param port – TCP port; true for a free one, false for none
 * @returns the server, or undefined if `port` is false
 */
export async function startAdminServer(
  emulator: EmulatorContext,
  port: number | boolean,
): Promise<AdminServer | undefined> {
  if (port === false) return undefined
  const faultHandles = new Map<string, FaultHandle>()
  const server = createServer((request, response) => {
    void handleAdminRequest(request, response, emulator, faultHandles)
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port === true ? 0 : port, '127.0.0.1', resolve)
  })
  const { port: actualPort } = server.address() as AddressInfo // never a string: the server listens on TCP
  return {
    endpoint: `http://127.0.0.1:${actualPort}`,
    async close() {
      const closed = new Promise(resolve => server.close(resolve))
      server.closeAllConnections()
      await closed
    },
  }
}

async function handleAdminRequest(
  request: IncomingMessage,
  response: ServerResponse,
  emulator: EmulatorContext,
  faultHandles: Map<string, FaultHandle>,
): Promise<void> {
  const send = (status: number, value: unknown) => {
    response.writeHead(status, { 'Content-Type': 'application/json' })
    response.end(JSON.stringify(value))
  }
  try {
    const { host = '', origin } = request.headers
    if (origin !== undefined || request.headers['sec-fetch-site'] !== undefined)
      throw new AdminRequestError(403, 'Requests from browsers are not allowed')
    if (!isLoopback(normalizeHost(host)))
      throw new AdminRequestError(403, 'The Host header must name a loopback address')
    const url = new URL(request.url ?? '/', 'http://127.0.0.1')
    const [, resource = '', id = '', action] = url.pathname.split('/')
    const path = [resource, id === '' ? '' : resource === 'faults' ? ':' : id, action].filter(
      Boolean,
    )
    const handler = ADMIN_ROUTES[`${request.method} /${path.join('/')}`]
    if (handler === undefined) throw new AdminRequestError(404, 'No such admin call')
    const body = await readJsonBody(request)
    send(
      200,
      await handler({
        id,
        query: url.searchParams,
        body,
        emulator,
        faultHandles,
      }),
    )
  } catch (error) {
    const status =
      error instanceof AdminRequestError ? error.status : isArgumentError(error) ? 400 : 500
    send(status, { error: errorMessage(error) })
  }
}

async function readJsonBody(request: AsyncIterable<Uint8Array>): Promise<unknown> {
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of request) {
    size += chunk.length
    if (size > MAX_ADMIN_BODY_BYTES)
      throw new AdminRequestError(413, `The request body exceeds ${MAX_ADMIN_BODY_BYTES} bytes`)
    chunks.push(chunk)
  }
  if (size === 0) return undefined
  try {
    return JSON.parse(Buffer.concat(chunks).toString())
  } catch (error) {
    throw new AdminRequestError(400, `Parsing the request body failed: ${errorMessage(error)}`)
  }
}

function requireFaultHandle({ id, faultHandles }: AdminRequest): FaultHandle {
  const handle = faultHandles.get(id)
  if (handle === undefined) throw new AdminRequestError(404, 'No such fault')
  return handle
}

const toFaultJson = (id: string, { fault, hits }: FaultHandle) => ({ id, fault, hits })

/**
 * Reads the only field of a JSON object. Throws `TypeError` if there are others, if it does not have the type of
 * `fallback`, or if it is an empty string.
 */
function readField<T extends string | number>(body: unknown, name: string, fallback: T): T {
  const fields = new Map<string, unknown>(Object.entries(body ?? {}))
  const value = fields.get(name) ?? fallback
  fields.delete(name)
  const [unknown] = fields.keys()
  if (unknown !== undefined) throw new TypeError(`Unknown field \`${unknown}\``)
  if (typeof value !== typeof fallback || value === '')
    throw new TypeError(`Expected \`${name}\` to be a ${typeof fallback}`)
  return value as T // the type was checked above
}
