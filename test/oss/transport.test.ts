/**
 * The HTTP transport against a server that misbehaves: every request ends, soon and with a reason,
 * lets go of its body, and leaves the next one a sound connection.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import * as http from 'node:http'
import * as net from 'node:net'
import { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { Transport, type TransportContext } from '../../src/oss/transport.js'
import { useProxies } from '../support/no-proxy.js'
import { SLOWEST } from '../support/slowest.js'
import { long } from '../support/long.js'

useProxies()

type Handler = (request: http.IncomingMessage, response: http.ServerResponse) => void

interface Bench {
  readonly url: string
  readonly transport: Transport
  /** Connections that were opened. */
  readonly sockets: Set<net.Socket>
}

async function bench(t: Test, handler: Handler, transport = new Transport()): Promise<Bench> {
  const server = http.createServer(handler).listen(0, '127.0.0.1')
  const sockets = new Set<net.Socket>()
  server.on('connection', socket => sockets.add(socket))
  await once(server, 'listening')
  t.teardown(() => {
    transport.close()
    server.close()
    server.closeAllConnections()
  })
  return { url: `http://127.0.0.1:${portOf(server)}/key`, transport, sockets }
}

function portOf(server: net.Server): number {
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('not listening')
  return address.port
}

/** A body that can be given up: 64 KiB chunks, without an end unless it has a size. */
function body(size = Infinity): Readable {
  let left = size
  return new Readable({
    read() {
      const chunk = Buffer.alloc(Math.min(left, 65_536), 1)
      left -= chunk.length
      this.push(chunk.length === 0 ? null : chunk)
    },
  })
}

const answer: Handler = (request, response) => {
  request.resume().on('end', () => response.end('done'))
}

const get = (exchange: TransportContext = {}) => ({
  method: 'GET',
  headers: {},
  ctx: () => exchange,
})

const put = (stream: Readable, exchange: TransportContext = {}) => ({
  method: 'PUT',
  headers: {},
  ctx: () => Object.assign(exchange, { body: stream }),
})

/** Resolves when nobody will read the body any more. */
const letGo = async (stream: Readable): Promise<void> => {
  if (!stream.destroyed) await new Promise(resolve => stream.once('close', resolve))
}

t.test('a request arrives as it was made, and its reply as it was given', async t => {
  const seen: unknown[] = []
  const { url, transport } = await bench(t, (request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const { method, url, headers } = request
      seen.push([method, url, headers['x-a'], headers.host, Buffer.concat(chunks).length])
      response.writeHead(207, { 'x-b': 'c' }).end('body')
    })
  })
  const exchange: TransportContext = {}
  const path = '/a%2Fb//c%20d/../e?x=%C3%A4&y'
  const host = new URL(url).host
  const response = await transport.request(url.replace('/key', path), {
    ...put(body(200_000), exchange),
    headers: { 'x-a': 'v', 'content-length': 200_000 },
  })
  t.same(seen, [['PUT', path, 'v', host, 200_000]], 'the path byte for byte, as it was signed')
  t.match(response, { status: 207, headers: { 'x-b': 'c' }, res: { status: 207 } })
  t.equal(response.data.toString(), 'body')
  t.match(exchange.reply, { status: 207, headers: { 'x-b': 'c' } })
  t.equal(exchange.failure, undefined)
  const params = { method: 'POST', headers: { host: 'bucket.example' }, content: '<xml/>' }
  t.equal((await transport.request(url, params)).status, 207, 'also without a context')
  t.same(seen[1], ['POST', '/key', undefined, 'bucket.example', 6])
})

t.test('sound connections are used again', async t => {
  const { url, transport, sockets } = await bench(t, answer)
  for (let i = 0; i < 5; i++) await transport.request(url, put(body(100_000)))
  t.equal(sockets.size, 1)
})

t.test('an abort ends a request at once, whatever it waits for', async t => {
  const stages: Record<string, Handler> = {
    'its reply': () => {},
    'the rest of its reply': (_, response) => void response.writeHead(200).write('half'),
    'its body to be taken': request => void request.pause(),
    'its body to be sent': request => void request.resume(),
  }
  for (const [name, handler] of Object.entries(stages)) {
    const { url, transport } = await bench(t, handler)
    const stop = new AbortController()
    const stream = body()
    const exchange: TransportContext = { signal: stop.signal }
    const aborted = transport.request(url, put(stream, exchange)).catch((error: unknown) => error)
    await sleep(50)
    const at = performance.now()
    stop.abort()
    t.match(await aborted, { name: 'AbortError' }, name)
    t.ok(performance.now() - at < SLOWEST, `${name}: ${performance.now() - at} ms`)
    await letGo(stream)
    t.match(exchange.failure, { name: 'AbortError' })
  }
  const { url, transport, sockets } = await bench(t, answer)
  const stream = body()
  const before = transport.request(url, put(stream, { signal: AbortSignal.abort() }))
  await t.rejects(before, { name: 'AbortError' }, 'before it began')
  t.equal(stream.readableDidRead, false)
  t.equal(sockets.size, 0)
})

t.test('leaves no listener on a signal that outlives it', async t => {
  const { url, transport } = await bench(t, answer)
  const { signal } = new AbortController()
  let listeners = 0
  // Both as they are called: with the event, the listener and its options.
  const add = signal.addEventListener.bind(signal) as (...of: unknown[]) => void
  const remove = signal.removeEventListener.bind(signal) as (...of: unknown[]) => void
  Object.assign(signal, {
    addEventListener: (...of: unknown[]) => (listeners++, add(...of)),
    removeEventListener: (...of: unknown[]) => (listeners--, remove(...of)),
  })
  for (let i = 0; i < 3; i++) await transport.request(url, get({ signal }))
  t.equal(listeners, 0)
})

void long(t, 'silence ends a request; slowness does not', async t => {
  t.test('before the reply', async t => {
    const { url, transport } = await bench(t, () => {})
    const at = performance.now()
    await t.rejects(transport.request(url, get({ idleTimeout: 200 })), { name: 'IdleTimeout' })
    t.ok(performance.now() - at < SLOWEST)
  })
  t.test('within the reply', async t => {
    const handler: Handler = (_, response) => void response.writeHead(200).write('half')
    const { url, transport } = await bench(t, handler)
    await t.rejects(transport.request(url, get({ idleTimeout: 200 })), { name: 'IdleTimeout' })
  })
  t.test('while the body is not taken', async t => {
    const { url, transport } = await bench(t, request => void request.pause())
    const stream = body()
    const sent = transport.request(url, put(stream, { idleTimeout: 200 }))
    await t.rejects(sent, { name: 'IdleTimeout' })
    await letGo(stream)
  })
  t.test('within a reply that drips for ever', async t => {
    const { url, transport } = await bench(t, (request, response) => {
      response.writeHead(200)
      const timer = setInterval(() => response.write('.'), 50)
      request.socket.on('close', () => clearInterval(timer))
    })
    const at = performance.now()
    const request = transport.request(url, get({ idleTimeout: 200 }))
    await t.rejects(request, { name: 'DeadlineExceeded', message: /No whole reply within/ })
    const took = performance.now() - at
    t.ok(took > 350 && took < SLOWEST, `twice the idle limit: ${took} ms`)
  })
  t.test('within a body that is taken drop by drop; the more, the longer', async t => {
    const { url, transport } = await bench(t, answer)
    // 4 KiB/s is the least for all requests together, beyond the idle limit.
    async function* drops(): AsyncGenerator<Buffer> {
      for (;;) {
        await sleep(50)
        yield Buffer.from('x')
      }
    }
    const small = (): Promise<unknown> =>
      transport
        .request(url, {
          ...put(Readable.from(drops()), { idleTimeout: 200 }),
          headers: { 'content-length': 800 },
        })
        .catch((error: unknown) => error)
    const at = performance.now()
    t.match(await small(), { name: 'DeadlineExceeded', message: /^800 bytes were not taken/ })
    const alone = performance.now() - at
    t.ok(alone > 350 && alone < SLOWEST, `alone: ${alone} ms`)
    await Promise.all([small(), small(), small(), small()])
    const together = performance.now() - at - alone
    t.ok(together > 900 && together < SLOWEST, `four share the line: ${together} ms`)
  })
  t.test('not while bytes trickle either way, for longer than the timeout', async t => {
    const { url, transport } = await bench(t, (request, response) => {
      request.resume().on('end', () => {
        response.writeHead(200)
        let i = 0
        const timer = setInterval(() => {
          response.write('.')
          if (++i === 8) response.end(() => clearInterval(timer))
        }, 60)
      })
    })
    async function* slow(): AsyncGenerator<Buffer> {
      for (let i = 0; i < 8; i++) {
        await sleep(60)
        yield Buffer.from('x')
      }
    }
    const response = await transport.request(url, put(Readable.from(slow()), { idleTimeout: 300 }))
    t.equal(response.data.toString(), '........')
  })
})

t.test('a server that cannot be reached', async t => {
  t.test('refuses: its code is kept', async t => {
    const server = net.createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const port = portOf(server)
    server.close()
    const transport = new Transport()
    const exchange: TransportContext = {}
    const stream = body()
    const request = transport.request(`http://127.0.0.1:${port}/`, put(stream, exchange))
    await t.rejects(request, { code: 'ECONNREFUSED' })
    t.match(exchange.failure, { code: 'ECONNREFUSED' })
    await letGo(stream)
  })
  t.test('accepts nobody: given up in time', async t => {
    if (process.platform !== 'linux') {
      t.pass('made with a Linux accept queue', { skip: true })
      return
    }
    // A frozen process accepts nobody: once its queue is full, connecting goes on for ever.
    const listen = `require('net').createServer().listen({ port: 0, host: '127.0.0.1', backlog: 1 },
      function () { console.log(this.address().port) })`
    const frozen = spawn(process.execPath, ['-e', listen], { stdio: ['ignore', 'pipe', 'inherit'] })
    t.teardown(() => frozen.kill('SIGKILL'))
    const [line] = (await once(frozen.stdout, 'data')) as [Buffer] // its only output
    const port = Number(line)
    frozen.kill('SIGSTOP')
    const queue = Array.from({ length: 5 }, () =>
      net.connect(port, '127.0.0.1').on('error', () => {}),
    )
    t.teardown(() => queue.forEach(socket => socket.destroy()))
    await sleep(100)
    t.ok(
      queue.some(socket => socket.connecting),
      'its queue is full',
    )
    const stream = body()
    const at = performance.now()
    const request = new Transport().request(
      `http://127.0.0.1:${port}/`,
      put(stream, { idleTimeout: 300 }),
    )
    await t.rejects(request, { name: 'ConnectTimeout' })
    t.ok(performance.now() - at < SLOWEST)
    await letGo(stream)
  })
  t.test('has a name that does not exist: its code is kept', async t => {
    const request = new Transport().request('http://no-such-host.invalid/', get())
    await t.rejects(request, { code: /ENOTFOUND|EAI_AGAIN/ })
  })
})

t.test('waiting for a socket of the caller’s agent is not waiting for a connection', async t => {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
  t.teardown(() => agent.destroy())
  const slow: Handler = (_, response) => void setTimeout(() => response.end('done'), 150)
  const { url, transport, sockets } = await bench(t, slow, new Transport({ http: agent }))
  const requests = Array.from({ length: 5 }, () =>
    transport.request(url, get({ idleTimeout: 400 })),
  )
  t.same(
    (await Promise.all(requests)).map(({ status }) => status),
    [200, 200, 200, 200, 200],
  )
  t.equal(sockets.size, 1)
  transport.close()
  t.equal((await transport.request(url, get())).status, 200, 'the agent is the caller’s to close')
})

t.test('a refusal while the body is still being sent', async t => {
  t.test('is the answer, and the body is let go', async t => {
    const { url, transport, sockets } = await bench(t, (request, response) => {
      const refuse = (): void => void response.writeHead(403).end('<Error/>')
      if (request.method === 'GET') refuse()
      else request.once('data', refuse)
    })
    const stream = body()
    const response = await transport.request(url, put(stream))
    t.equal(response.status, 403)
    t.equal(response.data.toString(), '<Error/>')
    await letGo(stream)
    const [socket] = sockets
    const at = performance.now()
    // Not `once`: that it was cut off is an error to the server.
    if (socket?.destroyed === false) await new Promise(resolve => socket.on('close', resolve))
    t.ok(performance.now() - at < SLOWEST, 'its connection is ended, not left half used')
    t.equal((await transport.request(url, get())).status, 403, 'the next one has its own')
  })
  t.test('is the answer also if the server then hangs up', async t => {
    const { url, transport } = await bench(t, (request, response) => {
      request.once('data', () => {
        response.writeHead(403, { connection: 'close', 'content-length': 8 })
        // With bytes unread, the system resets the connection.
        response.end('<Error/>', () => request.socket.destroy())
      })
    })
    const statuses = new Set<unknown>()
    for (let i = 0; i < 20; i++) {
      const exchange: TransportContext = {}
      const response = await transport
        .request(url, put(body(), exchange))
        .catch(() => exchange.reply)
      statuses.add(response?.status)
    }
    t.same([...statuses], [403])
  })
})

t.test('a reply that is cut in mid body is a failure that keeps its head', async t => {
  const cuts: Record<string, Handler> = {
    'a length not reached': (_, response) => {
      response.writeHead(200, { 'content-length': 100, 'x-oss-request-id': 'R' })
      response.write('half', () => response.destroy())
    },
    'a chunked one without an end': (_, response) => {
      response.writeHead(200, { 'x-oss-request-id': 'R' })
      response.write('half', () => response.socket?.end())
    },
    'a reset': (request, response) => {
      response.writeHead(200, { 'content-length': 100, 'x-oss-request-id': 'R' })
      response.write('half', () => setTimeout(() => request.socket.resetAndDestroy(), 20))
    },
  }
  for (const [name, handler] of Object.entries(cuts)) {
    const { url, transport } = await bench(t, handler)
    const exchange: TransportContext = {}
    await t.rejects(transport.request(url, get(exchange)), { code: 'ECONNRESET' }, name)
    t.match(exchange.reply, { status: 200, headers: { 'x-oss-request-id': 'R' } }, name)
    t.match(exchange.failure, { code: 'ECONNRESET' }, name)
  }
})

t.test('no reply at all is a failure', async t => {
  const { url, transport } = await bench(t, request => request.socket.destroy())
  const stream = body(10)
  await t.rejects(transport.request(url, put(stream)), { code: 'ECONNRESET' })
  await letGo(stream)
  const garbage = net
    .createServer(socket => socket.end('SSH-2.0-OpenSSH\r\n'))
    .listen(0, '127.0.0.1')
  await once(garbage, 'listening')
  t.teardown(() => garbage.close())
  const request = transport.request(`http://127.0.0.1:${portOf(garbage)}/`, get())
  await t.rejects(request, { code: /^HPE_/ })
})

t.test('a reply without an end is not collected', async t => {
  const { url, transport } = await bench(t, (_, response) => {
    const endless = body()
    response.on('close', () => endless.destroy())
    endless.pipe(response)
  })
  await t.rejects(transport.request(url, get()), { name: 'ReplyTooLarge' })
})

t.test('a body that fails ends its request with its own error', async t => {
  const { url, transport, sockets } = await bench(t, answer)
  const broken = new Error('the disk')
  async function* failing(): AsyncGenerator<Buffer> {
    yield Buffer.alloc(100_000)
    throw broken
  }
  const request = transport.request(url, put(Readable.from(failing())))
  t.equal(await request.catch((error: unknown) => error), broken)
  t.equal((await transport.request(url, get())).status, 200)
  t.equal(sockets.size, 2, 'a half-sent request’s socket is not used again')
})

t.test('headers that cannot be sent fail, they do not throw', async t => {
  const { url, transport } = await bench(t, answer)
  const request = transport.request(url, { method: 'GET', headers: { 'x-a': 'b\nc' } })
  await t.rejects(request, { code: 'ERR_INVALID_CHAR' })
})

t.test('idle connections do not keep a process alive; close ends them', async t => {
  const { url, transport, sockets } = await bench(t, answer)
  await transport.request(url, get())
  const [socket] = sockets
  const closed = once(socket!, 'close') // one request, one socket
  transport.close()
  await closed
})
