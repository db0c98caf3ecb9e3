/**
 * Proxies from the environment in front of the emulator, for HTTP and through a tunnel for HTTPS. Covers requests
 * that use the proxy, requests that bypass it, and errors of a refusing proxy, which never contain its password.
 */
import dns from 'node:dns'
import { once } from 'node:events'
import * as http from 'node:http'
import * as https from 'node:https'
import * as net from 'node:net'
import { mock } from 'node:test'
import { inspect } from 'node:util'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { startEmulator, type Emulator } from '../../src/emulator/index.js'
import { Spool, type SpoolOptions } from '../../src/index.js'
import { proxyFor } from '../../src/oss/proxy.js'
import { Transport } from '../../src/oss/transport.js'
import { makeAuthority } from '../support/authority.js'
import { useProxies } from '../support/no-proxy.js'
import { BUCKET, bytes, QUICK, streamOf } from '../support/oss.js'
import { SLOWEST } from '../support/slowest.js'

const HOST = 'oss-cn-hangzhou.aliyuncs.com'
const SECRET = 'pa%3Ass'
const USER = `Basic ${Buffer.from('user:pa:ss').toString('base64')}`

const authority = makeAuthority(t)
const certificate = authority?.sign(`DNS:*.${HOST}`, `DNS:proxy.test`)

t.beforeEach(() => useProxies())

interface TestProxy {
  /** Includes user and password. */
  readonly url: string
  readonly name: string
  /** `CONNECT host:443`, `PUT http://host/key`, ... */
  readonly requests: string[]
  /** Open connections. */
  readonly open: Set<net.Socket>
}

/** Starts a proxy that forwards authenticated requests to `oss`, or handles CONNECT with `behave`. */
async function proxy(
  t: Test,
  oss: Emulator | undefined,
  behave?: (socket: net.Socket) => void,
  tls?: { key: string; cert: string },
): Promise<TestProxy> {
  const requests: string[] = []
  const open = new Set<net.Socket>()
  const to = oss === undefined ? undefined : new URL(oss.endpoint)
  const server = tls === undefined ? http.createServer() : https.createServer(tls)
  server.on('request', (request: http.IncomingMessage, response: http.ServerResponse) => {
    const { method, headers, url = '' } = request
    requests.push(`${method} ${url}`)
    if (headers['proxy-authorization'] !== USER || to === undefined) {
      response.writeHead(407).end('authentication required')
      return
    }
    const { pathname } = new URL(url)
    const path = url.slice(url.indexOf(pathname, url.indexOf('://') + 3)) // byte for byte
    const { hostname, port } = to
    const onward = http.request({ hostname, port, path, method, headers }, reply => {
      response.writeHead(reply.statusCode ?? 0, reply.headers)
      reply.pipe(response)
    })
    onward.on('error', () => response.destroy())
    response.on('close', () => onward.destroy())
    request.pipe(onward)
  })
  server.on('connect', (request: http.IncomingMessage, socket: net.Socket) => {
    requests.push(`CONNECT ${request.url}`)
    socket.on('error', () => undefined)
    if (behave !== undefined) return behave(socket)
    if (request.headers['proxy-authorization'] !== USER || to === undefined) {
      return socket.end('HTTP/1.1 407 Proxy Authentication Required\r\n\r\n')
    }
    const onward = net.connect(Number(to.port), to.hostname, () => {
      socket.write('HTTP/1.1 200 Connection established\r\n\r\n')
      socket.pipe(onward).pipe(socket)
    })
    onward.on('error', () => socket.destroy())
    socket.on('close', () => onward.destroy())
  })
  server.on('connection', (socket: net.Socket) => {
    open.add(socket)
    socket.on('close', () => open.delete(socket))
    socket.on('error', () => undefined)
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  t.teardown(() => {
    server.close()
    for (const socket of open) socket.destroy()
  })
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('not listening')
  const name = `${tls === undefined ? 'http' : 'https'}://127.0.0.1:${address.port}`
  return { url: name.replace('://', `://user:${SECRET}@`), name, requests, open }
}

async function emulator(t: Test, tls?: { key: string; cert: string }): Promise<Emulator> {
  const oss = await startEmulator({ buckets: [BUCKET], ...(tls && { tls }) })
  t.teardown(() => oss.close())
  return oss
}

/** Creates a spool whose client uses OSS's public host name. */
function spoolFor(
  t: Test,
  oss: Emulator,
  secure: boolean,
  more: Partial<SpoolOptions['client']> = {},
): Spool {
  const { accessKeyId, accessKeySecret } = oss.clientOptions()
  const region = 'oss-cn-hangzhou'
  const client = { accessKeyId, accessKeySecret, region, secure, bucket: BUCKET, ...more }
  return new Spool({ client, dir: t.testdir({}), partSize: 102_400, retry: QUICK })
}

const upload = (spool: Spool, data: Buffer) => spool.upload('k', () => streamOf(data), { id: 'k' })

t.test('HTTP: sends every request to the proxy with its URL as signed', async t => {
  const oss = await emulator(t)
  const { url, requests } = await proxy(t, oss)
  useProxies({ HTTP_PROXY: url })
  const result = await upload(spoolFor(t, oss, false), bytes(300_000))
  t.equal(result.parts, 3)
  t.match(requests[0], `POST http://${BUCKET}.${HOST}/k?uploads=`)
  t.equal(requests.length, oss.requests.length)
})

t.test('HTTPS: uses a tunnel and verifies the endpoint’s certificate', async t => {
  if (authority === undefined || certificate === undefined) {
    t.pass('needs openssl', { skip: true })
    return
  }
  const { ca } = authority
  const oss = await emulator(t, certificate)
  const direct = await proxy(t, oss)
  const encrypted = await proxy(t, oss, undefined, authority.sign('IP:127.0.0.1'))
  for (const { url, requests } of [direct, encrypted]) {
    useProxies({ https_proxy: url })
    const data = bytes(300_000)
    const result = await upload(spoolFor(t, oss, true, { ca }), data)
    t.equal(result.parts, 3)
    t.same([...new Set(requests)], [`CONNECT ${BUCKET}.${HOST}:443`])
    t.ok(requests.length < 6, `tunnels are reused: ${requests.length}`)
  }
  useProxies({ HTTPS_PROXY: direct.url })
  const untrusted = upload(spoolFor(t, oss, true), bytes(10))
  await t.rejects(untrusted, { code: 'ERR_SPOOL_DENIED', message: /certificate/ })
  const wrong = await emulator(t, authority.sign('DNS:elsewhere.test'))
  const elsewhere = await proxy(t, wrong)
  useProxies({ HTTPS_PROXY: elsewhere.url })
  const refused = upload(spoolFor(t, wrong, true, { ca }), bytes(10))
  await t.rejects(refused, { code: 'ERR_SPOOL_DENIED', message: /altnames|ALTNAME/ })
})

t.test('requests that bypass the proxy', async t => {
  const oss = await emulator(t)
  const { url, name, requests } = await proxy(t, oss)
  t.test('loopback and hosts in NO_PROXY are not proxied', async t => {
    useProxies({ HTTP_PROXY: url, HTTPS_PROXY: url, NO_PROXY: 'a.test,.b.test,c.test:8080' })
    for (const host of ['localhost', 'x.localhost', '127.0.0.1', '127.9.9.9', '[::1]']) {
      t.equal(proxyFor(`http://${host}:1234/k`), undefined, host)
    }
    for (const host of ['a.test', 'x.b.test', 'c.test:8080']) {
      t.equal(proxyFor(`http://${host}/`), undefined, host)
    }
    for (const host of ['x.a.test', 'c.test', '10.0.0.1', '127.0.0.1.test']) {
      t.equal(proxyFor(`https://${host}/`)?.name, name, host)
    }
    useProxies()
    t.equal(proxyFor('https://a.test/'), undefined)
    const { region, ...keys } = oss.clientOptions(BUCKET)
    useProxies({ HTTP_PROXY: url })
    await upload(spoolFor(t, oss, false, { region, ...keys }), bytes(10))
    t.same(requests, [], 'the emulator is on loopback')
  })
  t.test('a proxy without a scheme is an HTTP proxy on the default port', async t => {
    useProxies({ HTTPS_PROXY: 'proxy.test:3128', HTTP_PROXY: 'https://proxy.test' })
    t.match(proxyFor('https://a.test/'), { name: 'http://proxy.test:3128', secure: false })
    t.match(proxyFor('http://a.test/'), { secure: true, port: 443, headers: {} })
    const headers = { 'proxy-authorization': `Basic ${btoa('user:50%')}` }
    useProxies({ http_proxy: 'http://user:50%@proxy.test' })
    t.match(proxyFor('http://a.test/'), { name: 'http://proxy.test', port: 80, headers })
    useProxies({ ALL_PROXY: 'http://[::2]' })
    t.match(proxyFor('http://a.test/'), { hostname: '::2', port: 80 })
  })
  t.test('rejects a proxy that is not an http(s) URL without showing its value', async t => {
    for (const value of [`socks5://user:${SECRET}@host`, `http://user:${SECRET}@:bad`]) {
      useProxies({ HTTP_PROXY: value })
      const failed = upload(spoolFor(t, oss, false), bytes(10)).catch((error: unknown) => error)
      const error = await failed
      t.match(error, { code: 'ERR_SPOOL_DENIED', resumable: true, message: /not an http\(s\) URL/ })
      t.notMatch(inspect(error, { depth: 9 }), /pa(%3A|:)ss/)
    }
  })
  t.test(
    'rejects an unescaped slash in a password instead of using half of it as a host',
    async t => {
      for (const rest of ['12/34', '12?34', '12#34']) {
        useProxies({ HTTP_PROXY: `http://user:${rest}@proxy.test:3128` })
        const error = await upload(spoolFor(t, oss, false), bytes(10)).catch((e: unknown) => e)
        t.match(error, { code: 'ERR_SPOOL_DENIED', resumable: true }, rest)
        t.notMatch(inspect(error, { depth: 9 }), /user:12|34@/)
      }
    },
  )
  t.test('requests with the caller’s agent are not proxied', async t => {
    useProxies({ HTTP_PROXY: url, HTTPS_PROXY: url })
    const agent = new http.Agent()
    t.teardown(() => agent.destroy())
    agent.createConnection = () => net.connect(Number(new URL(oss.endpoint).port), '127.0.0.1')
    await upload(spoolFor(t, oss, false, { agent }), bytes(10))
    t.same(requests, [])
  })
})

t.test('errors name a refusing proxy without its password', async t => {
  const oss = await emulator(t)
  const busy = (socket: net.Socket): void => void socket.end('HTTP/1.1 503 Busy\r\n\r\n')
  const cut = (socket: net.Socket): void => void socket.destroy()
  const refusing = await proxy(t, undefined) // always 407
  const gone = net.createServer().listen(0, '127.0.0.1')
  await once(gone, 'listening')
  const address = gone.address()
  const name = `http://127.0.0.1:${address !== null && typeof address === 'object' ? address.port : ''}`
  gone.close()
  const closed = { name, url: name.replace('//', `//user:${SECRET}@`), requests: [] }
  const denied = 'ERR_SPOOL_DENIED'
  const failed = 'ERR_SPOOL_UPLOAD_FAILED'
  const cases: [string, boolean, Pick<TestProxy, 'url' | 'name' | 'requests'>, string, RegExp][] = [
    ['407', false, refusing, denied, /answered 407: the user name or password is missing/],
    [
      '407 to CONNECT',
      true,
      refusing,
      denied,
      /answered 407: the user name or password is missing/,
    ],
    ['connection refused', false, closed, failed, /ECONNREFUSED/],
    ['connection refused, HTTPS', true, closed, failed, /ECONNREFUSED/],
    ['503', true, await proxy(t, oss, busy), failed, /answered 503/],
    ['hangs up', true, await proxy(t, oss, cut), failed, /ECONNRESET/],
  ]
  for (const [title, secure, { url, name, requests }, code, message] of cases) {
    useProxies({ HTTP_PROXY: url, HTTPS_PROXY: url })
    requests.length = 0
    const error: unknown = await upload(spoolFor(t, oss, secure), bytes(10)).catch(
      (error: unknown) => error,
    )
    t.match(error, { code, resumable: true, message }, title)
    t.match(error, { message: new RegExp(`proxy ${name} `) }, title)
    t.notMatch(inspect(error, { depth: 9 }), /pa(%3A|:)ss|dXNlcj/, title)
    if (code === denied) t.equal(requests.length, 1, `${title}: one request`)
  }
  t.equal(oss.requests.length, 0)
})

t.test('an unreachable proxy with several addresses is named', async t => {
  const oss = await emulator(t)
  const addresses = ['127.0.0.1', '127.0.0.2'].map(address => ({ address, family: 4 }))
  // The typings have one overload for each form of the result.
  const lookup = ((_, __, callback) => callback(null, addresses)) as net.LookupFunction
  mock.method(dns, 'lookup', lookup)
  t.teardown(() => mock.restoreAll())
  for (const secure of [false, true]) {
    const proxy = 'http://proxies.example.org:1'
    useProxies({ HTTP_PROXY: proxy, HTTPS_PROXY: proxy })
    const failed = upload(spoolFor(t, oss, secure), bytes(10))
    await t.rejects(failed, { code: 'ERR_SPOOL_UPLOAD_FAILED', message: `proxy ${proxy} ` })
  }
})

t.test('abort and timeout close the connection of a tunnel that is being established', async t => {
  const silent = (socket: net.Socket): void =>
    void socket.resume().on('end', () => socket.destroy())
  const { url, open } = await proxy(t, undefined, silent)
  useProxies({ HTTPS_PROXY: url })
  const transport = new Transport()
  t.teardown(() => transport.close())
  const get = (exchange: object): Promise<unknown> =>
    transport
      .request(`https://${HOST}/`, { method: 'GET', headers: {}, ctx: () => exchange })
      .catch((error: unknown) => error)
  const stop = new AbortController()
  const request = get({ signal: stop.signal })
  await sleep(100)
  t.equal(open.size, 1)
  const at = performance.now()
  stop.abort()
  t.match(await request, { name: 'AbortError' })
  t.ok(performance.now() - at < SLOWEST)
  t.match(await get({ idleTimeout: 200 }), { name: 'ConnectTimeout' })
  await sleep(50)
  t.equal(open.size, 0, 'the connections to the proxy are closed')
})
