/** Connections of raw clients: order of replies, their end, and what a reply leaves open. */
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { startEmulator, type Emulator } from '../../src/emulator/index.js'
import { CERT, KEY } from './certificate.js'
import { aliOss, ask, rejects, send, signed, tag } from './clients.js'

/** A client that keeps its side of a connection open. */
interface OpenClient {
  readonly socket: Socket
  /** Everything received so far. */
  readonly received: () => string
  /** Resolves when the server has closed both sides, so that it resets what the client still sends. */
  readonly closed: Promise<void>
}

function openClient({ port }: Emulator): OpenClient {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
  let text = ''
  socket.on('data', chunk => (text += chunk.toString('latin1'))).on('error', () => {})
  socket.on('end', () => {
    const writes = setInterval(() => void socket.write('x'), 20)
    socket.on('close', () => clearInterval(writes))
  })
  const closed = new Promise<void>(resolve => socket.on('close', () => resolve()))
  return { socket, received: () => text, closed }
}

const head = (
  oss: Emulator,
  method: string,
  resource: string,
  more: Record<string, string> = {},
): string =>
  `${method} ${resource} HTTP/1.1\r\nHost: localhost\r\n${Object.entries({
    ...signed(oss, { method, resource }),
    ...more,
  })
    .map(([name, value]) => `${name}: ${value}\r\n`)
    .join('')}\r\n`

const statuses = (text: string) => [...text.matchAll(/HTTP\/1.1 (\d{3})/g)].map(([, code]) => code)

t.test('connections end in order', async t => {
  const oss = await startEmulator({ buckets: ['bkt'], idleTimeout: 200 })
  t.teardown(() => oss.close())

  t.test('bytes after a body are refused after the reply to its request', async t => {
    const hang = oss.inject({ operation: 'PutObject', do: 'hang', at: 'received' })
    const { socket, received, closed } = openClient(oss)
    socket.write(`${head(oss, 'PUT', '/bkt/k', { 'Content-Length': '5' })}abcdeXXXXX`)
    await hang.hit()
    socket.write('more')
    hang.release()
    await closed
    t.same(statuses(received()), ['200', '400'])
    t.equal((await ask(oss, 'GET', '/bkt/k')).body, 'abcde')
  })

  t.test('a malformed request is refused after the replies before it', async t => {
    const hang = oss.inject({ operation: 'PutObject', do: 'hang', at: 'received' })
    const { socket, received, closed } = openClient(oss)
    const put = head(oss, 'PUT', '/bkt/k', { 'Content-Length': '1' })
    socket.write(`${put}xGET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n`)
    await hang.hit()
    hang.release()
    await closed
    t.same(statuses(received()), ['200', '400'])
  })

  t.test('a malformed body is refused after the replies before its request', async t => {
    const hang = oss.inject({ operation: 'PutObject', do: 'hang', at: 'received' })
    const { socket, received, closed } = openClient(oss)
    const put = head(oss, 'PUT', '/bkt/k', { 'Content-Length': '1' })
    const chunked = head(oss, 'PUT', '/bkt/c', { 'Transfer-Encoding': 'chunked' })
    socket.write(`${put}x${chunked}1\r\na\r\nno length\r\n`)
    await hang.hit()
    hang.release()
    await closed
    t.same(statuses(received()), ['200', '400'])
    t.equal((await ask(oss, 'HEAD', '/bkt/c')).status, 404)
  })

  t.test('a refused connection is closed even if the client keeps its side open', async t => {
    const { socket, received, closed } = openClient(oss)
    socket.write('NONSENSE\r\n\r\n')
    await closed
    t.same(statuses(received()), ['400'])
  })

  t.test('a body that the operation does not need, and that never comes, ends it', async t => {
    const { socket, received, closed } = openClient(oss)
    socket.write(head(oss, 'DELETE', '/bkt/none', { 'Content-Length': '5' }))
    await closed
    t.match(received(), /^HTTP\/1.1 400 .*\r\nConnection: close\r\n.*<Code>RequestTimeout</s)
  })

  t.test('a request that is refused before 100 Continue ends it', async t => {
    const { socket, received, closed } = openClient(oss)
    const headers = { Expect: '100-continue', 'Content-Length': '5' }
    socket.write(head(oss, 'PUT', '/nowhere/k', headers))
    await closed
    t.match(received(), /^HTTP\/1.1 404 .*\r\nConnection: close\r\n/s)
  })
})

t.test('close() closes connections that have sent nothing, with and without TLS', async t => {
  for (const options of [{}, { tls: { key: KEY, cert: CERT } }]) {
    const oss = await startEmulator(options)
    const { socket, closed } = openClient(oss)
    await once(socket, 'connect')
    await oss.close()
    await closed
  }
  t.pass('all connections are closed')
})

t.test('headers of any number are read', async t => {
  const oss = await startEmulator({ buckets: ['bkt'] })
  t.teardown(() => oss.close())
  const many = Object.fromEntries(Array.from({ length: 3000 }, (_, i) => [`a${i}`, 'b']))
  t.equal((await ask(oss, 'PUT', '/bkt/k', { headers: many, body: 'x' })).status, 200)
})

t.test('no open file is left by a read whose reply is replaced or lost', async t => {
  const oss = await startEmulator({ buckets: ['bkt'] })
  t.teardown(() => oss.close())
  await ask(oss, 'PUT', '/bkt/k', { body: 'x'.repeat(100_000) })
  const openFiles = () => readdirSync('/proc/self/fd').length
  await ask(oss, 'GET', '/bkt/k')
  const before = openFiles()
  const times = 20
  oss.inject({ operation: 'GetObject', do: 'reset', at: 'done', times })
  for (let i = 0; i < times; i++) await t.rejects(ask(oss, 'GET', '/bkt/k'))
  oss.inject({ operation: 'GetObject', do: 'answer', at: 'done', status: 503, times })
  for (let i = 0; i < times; i++) t.equal((await ask(oss, 'GET', '/bkt/k')).status, 503)
  while (openFiles() > before + times / 2) await sleep(10)
  t.pass('all files are closed')
})

t.test('names that no header or directory can have are refused', async t => {
  const oss = await startEmulator({ createBuckets: true, buckets: ['bkt'], allowBrowsers: true })
  t.teardown(() => oss.close())
  const client = aliOss(oss, 'bkt')

  t.test('the source of a copy creates no directory', async t => {
    const entries = () => [readdirSync(oss.dir), readdirSync(`${oss.dir}/buckets`)]
    const before = entries()
    for (const bucket of ['..', '.', 'UPPER', 'a'.repeat(300)]) {
      const headers = { 'x-oss-copy-source': `/${bucket}/key` }
      t.equal((await ask(oss, 'PUT', '/bkt/copy', { headers })).status, 404, bucket.slice(0, 9))
    }
    t.same(entries(), before)
  })

  t.test('a version id', async t => {
    await client.putBucketVersioning('bkt', 'Enabled')
    for (const versionId of ['a\nb', '→'])
      await rejects(t, client.delete('k', { versionId }), { status: 400, code: 'InvalidArgument' })
  })

  t.test('the id of a replication rule', async t => {
    const rule =
      '<Rule><ID>→</ID><Destination><Bucket>b</Bucket><Location>l</Location></Destination></Rule>'
    const body = `<ReplicationConfiguration>${rule}</ReplicationConfiguration>`
    const answer = await ask(oss, 'POST', '/bkt/?comp=add&replication', { body })
    t.same([answer.status, tag(answer.body, 'Code')], [400, 'MalformedXML'])
  })

  t.test('a header that CORS exposes, unless it has only white space around it', async t => {
    const put = (header: string) =>
      ask(oss, 'PUT', '/bkt/?cors', {
        body: `<CORSConfiguration><CORSRule><AllowedOrigin>*</AllowedOrigin><AllowedMethod>GET</AllowedMethod><ExposeHeader>${header}</ExposeHeader></CORSRule></CORSConfiguration>`,
      })
    const refused = await put('→')
    t.same([refused.status, tag(refused.body, 'Code')], [400, 'MalformedXML'])
    t.equal((await put('\n  x-oss-a\n')).status, 200)
    const read = {
      path: '/bkt/',
      headers: { ...signed(oss, { resource: '/bkt/' }), Origin: 'http://a' },
    }
    t.match(await send(oss, read), {
      status: 200,
      headers: { 'access-control-expose-headers': 'x-oss-a' },
    })
  })
})
