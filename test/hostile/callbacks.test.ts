/** Hostile callback servers. The emulator calls the user's server on loopback, and nothing that this server names. */
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import { startEmulator, type Emulator } from '../../src/emulator/index.js'
import { ask, tag } from '../emulator/clients.js'

const MIB = 1024 * 1024

/** Starts a callback server on loopback; returns its URL. */
async function serve(t: Test, listener: RequestListener): Promise<string> {
  const server = createServer(listener).listen(0, '127.0.0.1')
  await new Promise(resolve => server.once('listening', resolve))
  t.teardown(() => {
    server.close()
    server.closeAllConnections()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/` // never a string: the server listens on TCP
}

/** Puts an object with a callback to `url`. Resolves with status, error code, and the time it took in ms. */
async function put(
  oss: Emulator,
  url: string,
): Promise<{ result: string; body: string; ms: number }> {
  const callback = JSON.stringify({ callbackUrl: url, callbackBody: 'a=b' })
  const headers = { 'x-oss-callback': Buffer.from(callback).toString('base64') }
  const start = Date.now()
  const { status, body } = await ask(oss, 'PUT', '/bucket/k', { headers, body: 'x' })
  const result = `${status} ${tag(body, 'Code') ?? ''}`.trim()
  return { result, body, ms: Date.now() - start }
}

async function start(t: Test): Promise<Emulator> {
  const oss = await startEmulator({ buckets: ['bucket'] })
  t.teardown(() => oss.close())
  return oss
}

t.test('redirects of a callback are not followed', async t => {
  const oss = await start(t)
  const reached: string[] = []
  const target = await serve(t, ({ method, url }, response) => {
    reached.push(`${method} ${url}`)
    response.end('{"secret":true}')
  })
  for (const status of [300, 301, 302, 303, 307, 308])
    for (const location of [target, target.replace('127.0.0.1', 'localhost'), '/other']) {
      const own: string[] = []
      const url = await serve(t, (request, response) => {
        own.push(request.url ?? '')
        response.writeHead(status, { Location: location }).end('moved')
      })
      const { result, body } = await put(oss, url)
      t.equal(result, '203 CallbackFailed', `${status} ${location}`)
      t.notMatch(body, 'secret')
      t.same(own, ['/'], 'called once')
    }
  t.same(reached, [])
})

t.test('callbacks to other machines are refused, however they are spelt', async t => {
  const oss = await start(t)
  for (const url of [
    'http://attacker.example/',
    'http://127.0.0.1.attacker.example/',
    'http://127.attacker.example/',
    'http://localhost.attacker.example/',
    'http://127.0.0.1@attacker.example/',
    'http://169.254.169.254/latest/meta-data',
    'http://0xa9fea9fe/',
    'http://[::ffff:a9fe:a9fe]/',
    'http://0.0.0.0/',
    'file:///etc/passwd',
    'ftp://127.0.0.1/',
    'http://127.0.0.1:1/;http://attacker.example/',
  ])
    t.equal((await put(oss, url)).result, '400 InvalidArgument', url)
})

t.test('an endless response of a callback is cut while it is read', async t => {
  const oss = await start(t)
  for (const chunked of [true, false]) {
    let sent = 0
    let isClosed: () => void = () => {}
    const closed = new Promise<void>(resolve => (isClosed = resolve))
    const url = await serve(t, (request, response) => {
      request.resume()
      response.writeHead(200, chunked ? {} : { 'Content-Length': 2 ** 40 })
      const chunk = Buffer.alloc(64 * 1024, 'x')
      const send = (): void => {
        while (!response.destroyed && response.write(chunk)) sent += chunk.length
      }
      response.on('drain', send).on('close', isClosed)
      send()
    })
    const { result, ms } = await put(oss, url)
    t.equal(result, '203 CallbackFailed')
    t.ok(ms < 4000, 'before the callback times out')
    await closed
    t.ok(sent < 32 * MIB, `only buffers were filled (${sent} bytes)`)
  }
})

t.test('a JSON response of a callback of up to 1 MiB is forwarded', async t => {
  const oss = await start(t)
  const url = await serve(t, ({ url }, response) => {
    const size = Number(url?.slice(1))
    response.end(size === 0 ? '' : JSON.stringify('x'.repeat(size - 2)))
  })
  const most = await put(oss, `${url}${MIB}`)
  t.same([most.result, most.body.length], ['200', MIB])
  t.equal((await put(oss, `${url}${MIB + 1}`)).result, '203 CallbackFailed')
  t.equal((await put(oss, `${url}0`)).result, '203 CallbackFailed', 'no JSON')
})

t.test('a callback that stays silent or drips is ended after 5 s', async t => {
  const oss = await start(t)
  const listeners: Record<string, RequestListener> = {
    'no response': () => {},
    'no body': (_, response) => response.writeHead(200).flushHeaders(),
    'a dripping body': (_, response) => {
      const drip = setInterval(() => response.write('x'), 200)
      response.on('close', () => clearInterval(drip))
    },
    'a dripping redirect': (_, response) => {
      response.writeHead(302, { Location: '/' })
      const drip = setInterval(() => response.write('x'), 200)
      response.on('close', () => clearInterval(drip))
    },
  }
  await Promise.all(
    Object.entries(listeners).map(async ([name, listener]) => {
      const { result, ms } = await put(oss, await serve(t, listener))
      t.equal(result, '203 CallbackFailed', name)
      t.ok(ms < 15_000, `${name} (${ms} ms)`)
    }),
  )
})
