/**
 * The admin port: what tests in other processes need of a running emulator, as JSON over HTTP. It
 * listens on 127.0.0.1 only and answers no browser: a page that names it has an Origin.
 */
import { randomUUID } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Emulation } from './emulation.js'
import { checkFault } from './faults/check-fault.js'
import type { FaultHandle } from './faults/fault.js'
import { checkLink } from './link.js'

/** An open admin port. */
export interface Admin {
  readonly endpoint: string
  close(): Promise<void>
}

interface AdminCall {
  readonly id: string
  readonly query: URLSearchParams
  readonly body: unknown
  readonly emulation: Emulation
  readonly handles: Map<string, FaultHandle>
}

type Handler = (call: AdminCall) => unknown

const MAX_BODY = 1024 * 1024

/** Method and path (`:` stands for an id) of each call. */
const CALLS: Readonly<Record<string, Handler>> = {
  'GET /faults': ({ handles }) => [...handles].map(([id, handle]) => show(id, handle)),
  'POST /faults': ({ body, emulation, handles }) => {
    const id = randomUUID()
    const handle = emulation.faults.inject(checkFault(body))
    handles.set(id, handle)
    return show(id, handle)
  },
  'DELETE /faults': ({ emulation, handles }) => {
    emulation.faults.clear()
    handles.clear()
    return {}
  },
  'GET /faults/:': async call => {
    const handle = handleOf(call)
    const hits = Number(call.query.get('hits') ?? 0)
    if (hits > 0) await handle.hit(hits)
    return show(call.id, handle)
  },
  'POST /faults/:/release': call => {
    handleOf(call).release()
    return {}
  },
  'DELETE /faults/:': call => {
    handleOf(call).remove()
    call.handles.delete(call.id)
    return {}
  },
  'GET /link': ({ emulation }) => emulation.line.link,
  'PUT /link': ({ body, emulation }) => (emulation.line.link = checkLink(body)),
  'GET /requests': ({ emulation }) => emulation.requests,
  'DELETE /requests': ({ emulation }) => {
    emulation.requests.length = 0
    return {}
  },
  'POST /sts': ({ body, emulation }) =>
    emulation.credentials.sts.issue(field(body, 'seconds', 3600)),
  'POST /sts/expire': ({ body, emulation }) => {
    emulation.credentials.sts.expire(field(body, 'token', ''))
    return {}
  },
  'POST /sts/revoke': ({ body, emulation }) => {
    emulation.credentials.sts.revoke(field(body, 'token', ''))
    return {}
  },
}

/** A request that cannot be served, with its status. */
class Refused extends Error {
  readonly status: number
  constructor(status: number, message: string) {
    super(message)
    this.status = status
  }
}

/** Opens the admin port. @param port true for a free one, false for none */
export async function openAdmin(
  emulation: Emulation,
  port: number | boolean,
): Promise<Admin | undefined> {
  if (port === false) return undefined
  const handles = new Map<string, FaultHandle>()
  const server = createServer((request, response) => {
    void respond(request, response, emulation, handles)
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port === true ? 0 : port, '127.0.0.1', resolve)
  })
  const { port: actual } = server.address() as AddressInfo // a TCP server has an address
  return {
    endpoint: `http://127.0.0.1:${actual}`,
    async close() {
      const closed = new Promise(resolve => server.close(resolve))
      server.closeAllConnections()
      await closed
    },
  }
}

async function respond(
  request: IncomingMessage,
  response: ServerResponse,
  emulation: Emulation,
  handles: Map<string, FaultHandle>,
): Promise<void> {
  const send = (status: number, value: unknown) => {
    response.writeHead(status, { 'Content-Type': 'application/json' })
    response.end(JSON.stringify(value))
  }
  try {
    if (request.headers.origin !== undefined) throw new Refused(403, 'not for browsers')
    const url = new URL(request.url ?? '/', 'http://127.0.0.1')
    const [, kind = '', id = '', verb] = url.pathname.split('/')
    const path = [kind, id === '' ? '' : kind === 'faults' ? ':' : id, verb].filter(Boolean)
    const handler = CALLS[`${request.method} /${path.join('/')}`]
    if (handler === undefined) throw new Refused(404, 'no such call')
    const body = await readJson(request)
    send(200, await handler({ id, query: url.searchParams, body, emulation, handles }))
  } catch (error) {
    const wrong = error instanceof TypeError || error instanceof RangeError
    const status = error instanceof Refused ? error.status : wrong ? 400 : 500
    send(status, { error: error instanceof Error ? error.message : String(error) })
  }
}

async function readJson(request: AsyncIterable<Uint8Array>): Promise<unknown> {
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of request) {
    size += chunk.length
    if (size > MAX_BODY) throw new Refused(413, 'too long')
    chunks.push(chunk)
  }
  if (size === 0) return undefined
  try {
    return JSON.parse(Buffer.concat(chunks).toString())
  } catch (error) {
    throw new Refused(400, error instanceof Error ? error.message : 'not JSON')
  }
}

function handleOf({ id, handles }: AdminCall): FaultHandle {
  const handle = handles.get(id)
  if (handle === undefined) throw new Refused(404, 'no such fault')
  return handle
}

const show = (id: string, { fault, hits }: FaultHandle) => ({ id, fault, hits })

/** A field of a JSON object, of the type of its fallback. */
function field<T extends string | number>(body: unknown, name: string, fallback: T): T {
  const value = new Map<string, unknown>(Object.entries(body ?? {})).get(name) ?? fallback
  if (typeof value !== typeof fallback)
    throw new TypeError(`Expected \`${name}\` to be a ${typeof fallback}`)
  return value as T // the same type as the fallback
}
