/**
 * The HTTP transport against a misbehaving server: every request ends in time and with a reason, releases its
 * body, and leaves a usable connection to the next request.
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
  /** All connections opened so far. */
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

/** Creates a destroyable body of 64 KiB chunks, endless by default. */
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

/** Resolves when the body has been released. */
const released = async (stream: Readable): Promise<void> => {
  if (!stream.destroyed) await new Promise(resolve => stream.once('close', resolve))
}

t.test('requests and replies are transmitted unchanged', async t => {
  const requests: unknown[] = []
  const { url, transport } = await bench(t, (request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const { method, url, headers } = request
      requests.push([method, url, headers['x-a'], headers.host, Buffer.concat(chunks).length])
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
  t.same(requests, [['PUT', path, 'v', host, 200_000]], 'the path is byte for byte as signed')
  t.match(response, { status: 207, headers: { 'x-b': 'c' }, res: { status: 207 } })
  t.equal(response.data.toString(), 'body')
  t.match(exchange.reply, { status: 207, headers: { 'x-b': 'c' } })
  t.equal(exchange.failure, undefined)
  const params = { method: 'POST', headers: { host: 'bucket.example' }, content: '<xml/>' }
  t.equal((await transport.request(url, params)).status, 207, 'also without a context')
  t.same(requests[1], ['POST', '/key', undefined, 'bucket.example', 6])
})

t.test('usable connections are reused', async t => {
  const { url, transport, sockets } = await bench(t, answer)
  for (let i = 0; i < 5; i++) await transport.request(url, put(body(100_000)))
  t.equal(sockets.size, 1)
})

t.test('an abort ends a request immediately at every stage', async t => {
  const stages: Record<string, Handler> = {
    'before the reply': () => {},
    'during the reply': (_, response) => void response.writeHead(200).write('half'),
    'while the server does not read the body': request => void request.pause(),
    'while the body is sent': request => void request.resume(),
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
    await released(stream)
    t.match(exchange.failure, { name: 'AbortError' })
  }
  const { url, transport, sockets } = await bench(t, answer)
  const stream = body()
  const before = transport.request(url, put(stream, { signal: AbortSignal.abort() }))
  await t.rejects(before, { name: 'AbortError' }, 'before it started')
  t.equal(stream.readableDidRead, false)
  t.equal(sockets.size, 0)
})

t.test('a request leaves no listener on a signal that outlives it', async t => {
  const { url, transport } = await bench(t, answer)
  const { signal } = new AbortController()
  let listeners = 0
  // Both are called with the event, the listener and its options.
  const add = signal.addEventListener.bind(signal) as (...of: unknown[]) => void
  const remove = signal.removeEventListener.bind(signal) as (...of: unknown[]) => void
  Object.assign(signal, {
    addEventListener: (...of: unknown[]) => (listeners++, add(...of)),
    removeEventListener: (...of: unknown[]) => (listeners--, remove(...of)),
  })
  for (let i = 0; i < 3; i++) await transport.request(url, get({ signal }))
  t.equal(listeners, 0)
})

void long(t, 'timeouts fail idle requests, but not slow ones', async t => {
  t.test('idle before the reply', async t => {
    const { url, transport } = await bench(t, () => {})
    const at = performance.now()
    await t.rejects(transport.request(url, get({ idleTimeout: 200 })), { name: 'IdleTimeout' })
    t.ok(performance.now() - at < SLOWEST)
  })
  t.test('idle during the reply', async t => {
    const handler: Handler = (_, response) => void response.writeHead(200).write('half')
    const { url, transport } = await bench(t, handler)
    await t.rejects(transport.request(url, get({ idleTimeout: 200 })), { name: 'IdleTimeout' })
  })
  t.test('idle while the server does not read the body', async t => {
    const { url, transport } = await bench(t, request => void request.pause())
    const stream = body()
    const sent = transport.request(url, put(stream, { idleTimeout: 200 }))
    await t.rejects(sent, { name: 'IdleTimeout' })
    await released(stream)
  })
  t.test('an endless slow reply exceeds the deadline', async t => {
    const { url, transport } = await bench(t, (request, response) => {
      response.writeHead(200)
      const timer = setInterval(() => response.write('.'), 50)
      request.socket.on('close', () => clearInterval(timer))
    })
    const at = performance.now()
    const request = transport.request(url, get({ idleTimeout: 200 }))
    await t.rejects(request, { name: 'DeadlineExceeded', message: /No complete reply within/ })
    const took = performance.now() - at
    t.ok(took > 350 && took < SLOWEST, `twice the idle limit: ${took} ms`)
  })
  t.test(
    'a body sent too slowly exceeds the deadline, which grows with concurrent requests',
    async t => {
      const { url, transport } = await bench(t, answer)
      // Beyond the idle timeout, all requests together must reach 4 KiB/s.
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
      t.match(await small(), {
        name: 'DeadlineExceeded',
        message: /^The body of 800 bytes was not sent/,
      })
      const alone = performance.now() - at
      t.ok(alone > 350 && alone < SLOWEST, `alone: ${alone} ms`)
      await Promise.all([small(), small(), small(), small()])
      const together = performance.now() - at - alone
      t.ok(together > 900 && together < SLOWEST, `four concurrent requests: ${together} ms`)
    },
  )
  t.test('no timeout while bytes trickle in either direction, however long it takes', async t => {
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

t.test('unreachable servers', async t => {
  t.test('a refused connection keeps its error code', async t => {
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
    await released(stream)
  })
  t.test('a host with several refusing addresses fails with the reason of each', async t => {
    const server = net.createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const port = portOf(server)
    server.close()
    const addresses = ['127.0.0.1', '127.0.0.2'].map(address => ({ address, family: 4 }))
    const lookup: net.LookupFunction = (_, __, callback) => callback(null, addresses)
    const transport = new Transport({ http: new http.Agent({ lookup }) })
    const exchange: TransportContext = {}
    const request = transport.request(`http://two.example.org:${port}/`, get(exchange))
    await t.rejects(request, { code: 'ECONNREFUSED', syscall: 'connect' })
    for (const { address } of addresses) t.match(exchange.failure, { message: address })
  })
  t.test('a server that does not accept connections fails with ConnectTimeout', async t => {
    if (process.platform !== 'linux') {
      t.pass('needs the accept queue of Linux', { skip: true })
      return
    }
    // A stopped process accepts no connections. Once its queue is full, connecting never completes.
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
    await released(stream)
  })
  t.test('an unknown host name keeps its error code', async t => {
    const request = new Transport().request('http://no-such-host.invalid/', get())
    await t.rejects(request, { code: /ENOTFOUND|EAI_AGAIN/ })
  })
})

t.test('waiting for a free socket of the caller’s agent triggers no timeout', async t => {
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
  t.equal((await transport.request(url, get())).status, 200, 'the caller’s agent is not destroyed')
})

t.test('early refusals while the body is being sent', async t => {
  t.test('the refusal is the reply, and the body is released', async t => {
    const { url, transport, sockets } = await bench(t, (request, response) => {
      const refuse = (): void => void response.writeHead(403).end('<Error/>')
      if (request.method === 'GET') refuse()
      else request.once('data', refuse)
    })
    const stream = body()
    const response = await transport.request(url, put(stream))
    t.equal(response.status, 403)
    t.equal(response.data.toString(), '<Error/>')
    await released(stream)
    const [socket] = sockets
    const at = performance.now()
    // Not `once`, because the server also emits an `error` for the reset connection.
    if (socket?.destroyed === false) await new Promise(resolve => socket.on('close', resolve))
    t.ok(performance.now() - at < SLOWEST, 'its connection is closed, not left half used')
    t.equal(
      (await transport.request(url, get())).status,
      403,
      'the next request uses a new connection',
    )
  })
  t.test('the refusal is the reply even if the server then closes the connection', async t => {
    const { url, transport } = await bench(t, (request, response) => {
      request.once('data', () => {
        response.writeHead(403, { connection: 'close', 'content-length': 8 })
        // The kernel resets the connection because of unread bytes.
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

t.test('a truncated reply is a failure that keeps its status and headers', async t => {
  const cuts: Record<string, Handler> = {
    'shorter than its length': (_, response) => {
      response.writeHead(200, { 'content-length': 100, 'x-oss-request-id': 'R' })
      response.write('half', () => response.destroy())
    },
    'chunked without an end': (_, response) => {
      response.writeHead(200, { 'x-oss-request-id': 'R' })
      response.write('half', () => response.socket?.end())
    },
    'connection reset': (request, response) => {
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

t.test('a missing or malformed reply is a failure', async t => {
  const { url, transport } = await bench(t, request => request.socket.destroy())
  const stream = body(10)
  await t.rejects(transport.request(url, put(stream)), { code: 'ECONNRESET' })
  await released(stream)
  const garbage = net
    .createServer(socket => socket.end('SSH-2.0-OpenSSH\r\n'))
    .listen(0, '127.0.0.1')
  await once(garbage, 'listening')
  t.teardown(() => garbage.close())
  const request = transport.request(`http://127.0.0.1:${portOf(garbage)}/`, get())
  await t.rejects(request, { code: /^HPE_/ })
})

t.test('an endless reply fails with ReplyTooLarge', async t => {
  const { url, transport } = await bench(t, (_, response) => {
    const endless = body()
    response.on('close', () => endless.destroy())
    endless.pipe(response)
  })
  await t.rejects(transport.request(url, get()), { name: 'ReplyTooLarge' })
})

t.test('a request rejects with the error of its body', async t => {
  const { url, transport, sockets } = await bench(t, answer)
  const broken = new Error('the disk')
  async function* failing(): AsyncGenerator<Buffer> {
    yield Buffer.alloc(100_000)
    throw broken
  }
  const request = transport.request(url, put(Readable.from(failing())))
  t.equal(await request.catch((error: unknown) => error), broken)
  t.equal((await transport.request(url, get())).status, 200)
  t.equal(sockets.size, 2, 'the socket of an incomplete request is not reused')
})

t.test('invalid headers reject the request instead of throwing', async t => {
  const { url, transport } = await bench(t, answer)
  const request = transport.request(url, { method: 'GET', headers: { 'x-a': 'b\nc' } })
  await t.rejects(request, { code: 'ERR_INVALID_CHAR' })
})

t.test('close() closes idle connections', async t => {
  const { url, transport, sockets } = await bench(t, answer)
  await transport.request(url, get())
  const [socket] = sockets
  const closed = once(socket!, 'close') // one request, one socket
  transport.close()
  await closed
})
