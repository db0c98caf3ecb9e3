/**
 * Examples that users copy, run as real processes against the emulator. Their sources are folders, and HTTP
 * servers that cut, change and stall.
 */
import { execFileSync } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { appendFile, truncate, writeFile } from 'node:fs/promises'
import {
  createServer,
  request as startRequest,
  type IncomingMessage,
  type ServerResponse,
} from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { start, until } from '../support/command-line.js'
import { EXAMPLES, stage } from '../support/example.js'
import { long } from '../support/long.js'

const MIB = 1024 * 1024

/** Starts an HTTP server for one test. */
async function web(
  t: Test,
  answer: (request: IncomingMessage, response: ServerResponse) => unknown,
): Promise<string> {
  const http = createServer(answer).listen(0, '127.0.0.1')
  await once(http, 'listening')
  t.teardown(() => {
    http.closeAllConnections()
    http.close()
  })
  return `http://127.0.0.1:${(http.address() as AddressInfo).port}`
}

t.test('every example has at most 60 lines', async t => {
  for (const name of readdirSync(EXAMPLES).filter(file => file.endsWith('.mjs'))) {
    t.ok(readFileSync(join(EXAMPLES, name), 'utf8').split('\n').length <= 60, name)
  }
})

t.test('upload-server publishes whole files only', async t => {
  const { example, oss, get } = await stage(t, {}, { MAX_BYTES: '300000' })
  const { child, done } = example('upload-server.mjs', ['0'])
  let printed = ''
  child.stdout?.on('data', (text: Buffer) => (printed += String(text)))
  await until(() => printed.includes('\n'))
  const url = printed.trim()
  const send = (size: number) => {
    const form = new FormData()
    form.append('file', new Blob([Buffer.alloc(size, 'x')], { type: 'text/plain' }), 'f.txt')
    return fetch(url, { method: 'POST', body: form })
  }
  const published = () =>
    oss.requests.filter(({ operation, status }) => operation === 'PutObject' && status === 200)

  const whole = await send(200_000)
  t.equal(whole.status, 201)
  const [object] = JSON.parse(await whole.text())
  t.equal((await get(object.key))?.length, 200_000)
  t.equal((await send(300_001)).status, 400)
  t.equal((await fetch(url, { method: 'POST', body: 'no form' })).status, 400)

  const head = '--b\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\nsome bytes'
  const headers = { 'content-type': 'multipart/form-data; boundary=b', 'content-length': 1000 }
  const cut = startRequest(url, { method: 'POST', headers })
  cut.on('error', () => undefined)
  const closed = new Promise(resolve => cut.once('close', resolve)) // `once()` rejects at 'error'
  cut.write(head)
  await sleep(200) // the server has read it
  cut.destroy()
  await closed
  t.equal((await send(0)).status, 201, 'the server lives on')
  t.equal(published().length, 2)
  child.kill('SIGTERM')
  await done
  t.same(readdirSync(join(t.testdirName, 'spool')), [])
})

t.test('an example without OSS credentials starts a local emulator', async t => {
  const dir = t.testdir({ logs: { 'a.log': 'A' } })
  const port = await freePort()
  const program = join(EXAMPLES, 'archive-logs.mjs')
  const { done } = start(dir, ['logs'], undefined, { OSS_LOCAL_PORT: port }, program)
  t.match(await done, { status: 0, out: /bucket: 'examples'/, err: '' })
  t.same(readdirSync(join(dir, 'oss-data', 'buckets')), ['examples'])
})

async function freePort(): Promise<string> {
  const http = createServer().listen(0, '127.0.0.1')
  await once(http, 'listening')
  const { port } = http.address() as AddressInfo
  await new Promise(resolve => http.close(resolve))
  return String(port)
}

void long(t, 'archive-logs publishes a consistent archive of growing logs, or nothing', async t => {
  const old = 'GET / 200\n'.repeat(100_000)
  const { dir, example, get, oss } = await stage(t, {
    logs: { 'access.log': '', 'old.log': old, web: { 'error.log': 'oops\n' } },
  })
  const key = `logs/logs-${new Date().toISOString().slice(0, 10)}.tar.gz`
  const growing = join(dir, 'logs', 'access.log')
  const run = example('archive-logs.mjs', ['logs'])
  const ended = new AbortController()
  const writer = (async () => {
    while (!ended.signal.aborted) await appendFile(growing, 'one more line\n')
  })()
  const { status, err } = await run.done.finally(() => ended.abort())
  await writer
  t.equal(status, 0, err)
  const archive = join(dir, 'archive.tar.gz')
  await writeFile(archive, (await get(key)) ?? '')
  const content = (name: string): string =>
    execFileSync('tar', ['-xzOf', archive, name], { encoding: 'utf8' })
  t.ok(content('logs/old.log') === old, 'an unchanged file is archived as it is')
  t.equal(content('logs/web/error.log'), 'oops\n')
  const log = content('logs/access.log')
  t.ok(
    readFileSync(growing, 'utf8').startsWith(log),
    'a growing log is archived with its content of one moment',
  )

  await writeFile(growing, randomBytes(64 * MIB))
  oss.requests.length = 0
  const cut = example('archive-logs.mjs', ['logs'])
  await until(() => oss.requests.some(({ operation }) => operation === 'UploadPart'))
  await truncate(growing, 0)
  t.match(await cut.done, { status: 1, err: /ERR_SPOOL_SOURCE_FAILED/ })
  t.ok((await get(key))?.equals(readFileSync(archive)), 'the earlier archive is unchanged')
})

void long(t, 'http-to-oss publishes the whole response or nothing', async t => {
  const { example, get } = await stage(t)
  const body = randomBytes(300_000)
  const half = body.subarray(0, 150_000)
  const url = await web(t, (request, response) => {
    const { pathname } = new URL(request.url ?? '', 'http://x')
    const cut = () => response.write(half, () => setTimeout(() => response.destroy(), 50))
    const answers: Record<string, () => unknown> = {
      '/length': () => response.setHeader('content-length', body.length).end(body),
      '/chunked': () => void (response.write(half), response.end(body.subarray(half.length))),
      '/length-cut': () => void (response.setHeader('content-length', body.length), cut()),
      '/chunked-cut': cut,
      '/endless': () => {
        response.useChunkedEncodingByDefault = false
        response.shouldKeepAlive = false
        response.removeHeader('transfer-encoding')
        response.end(body)
      },
      '/missing': () => void response.writeHead(404).end('no such thing'),
    }
    response.setHeader('content-type', 'image/x-noise')
    answers[pathname]?.()
  })
  const fetched = async (name: string) => {
    const { status, err } = await example('http-to-oss.mjs', [`${url}/${name}`, name]).done
    return { status, err, object: await get(name) }
  }
  const [length, chunked, lengthCut, chunkedCut, endless, missing] = await Promise.all(
    ['length', 'chunked', 'length-cut', 'chunked-cut', 'endless', 'missing'].map(fetched),
  )
  t.match(length, { status: 0, err: '' })
  t.ok(length?.object?.equals(body))
  t.match(chunked, { status: 0, err: '' })
  t.ok(chunked?.object?.equals(body))
  t.match(lengthCut, { status: 1, err: /terminated/, object: undefined })
  t.match(chunkedCut, { status: 1, err: /terminated/, object: undefined })
  t.match(endless, { status: 1, err: /a cut could not be detected/, object: undefined })
  t.match(missing, { status: 1, err: /404/, object: undefined })
})

/** Serves a file with HTTP ranges and records what it sends. Each GET takes the next entry of `stops`. */
async function fileServer(t: Test, content: Buffer) {
  const file = {
    content,
    /** Offsets at which a response stops, and the action to take there. */
    stops: [] as { at: number; act: (response: ServerResponse) => void }[],
    /** Start offset and number of body bytes of each GET. */
    sent: [] as { from: number; bytes: number }[],
  }
  const url = await web(t, (request, response) => {
    const { length } = file.content
    const etag = `"${createHash('md5').update(file.content).digest('hex')}"`
    response.setHeader('etag', etag)
    const range = request.headers['if-range'] === etag ? request.headers.range : undefined
    const from = Number(/^bytes=(\d+)-$/.exec(range ?? '')?.[1] ?? 0)
    if (range !== undefined) {
      response.statusCode = 206
      response.setHeader('content-range', `bytes ${from}-${length - 1}/${length}`)
    }
    response.setHeader('content-length', length - from)
    if (request.method === 'HEAD') return response.end()
    const stop = file.stops.shift()
    const body = file.content.subarray(from, stop?.at)
    file.sent.push({ from, bytes: body.length })
    if (stop === undefined) return response.end(body)
    return response.write(body, () => stop.act(response))
  })
  return { url: `${url}/file`, file }
}

void long(
  t,
  'resumable-download fetches only the rest after it was killed and restarted',
  async t => {
    const { example, get, spool, dir } = await stage(t)
    const total = 25 * MIB + 12_345
    const { url, file } = await fileServer(t, randomBytes(total))
    file.stops.push({ at: 20 * MIB, act: () => undefined })
    const killed = example('resumable-download.mjs', [url, 'big.bin'])
    await until(async () => ((await spool.uploads())[0]?.spooled ?? 0) >= 16 * MIB)
    killed.child.kill('SIGKILL')
    await killed.done
    t.equal(await get('big.bin'), undefined)

    const again = await example('resumable-download.mjs', [url, 'big.bin']).done
    t.match(again, { status: 0, err: '' })
    t.ok((await get('big.bin'))?.equals(file.content))
    const rest = file.sent[1]?.from ?? 0
    t.ok(rest >= 16 * MIB, `the second request begins at ${rest}, after the spooled bytes`)
    t.same(file.sent[1], { from: rest, bytes: total - rest })
    t.equal(file.sent.length, 2)
    t.same(readdirSync(join(dir, 'spool')), [])
  },
)

t.test('resumable-download recovers from a cut, and starts over if the file changes', async t => {
  const { example, get, dir } = await stage(t)
  const [before, after] = [randomBytes(10 * MIB), randomBytes(700_000)]
  const { url, file } = await fileServer(t, before)
  const cut = (response: ServerResponse) => void setTimeout(() => response.destroy(), 100)
  file.stops.push({ at: 9 * MIB, act: cut })
  file.stops.push({ at: 9.5 * MIB, act: response => ((file.content = after), cut(response)) })
  const { status, err } = await example('resumable-download.mjs', [url, 'file']).done
  t.equal(status, 0, err)
  t.equal(err.match(/terminated; retrying/g)?.length, 2)
  t.ok((await get('file'))?.equals(after), 'the object is not a mixture of both versions')
  t.same(file.sent, [
    { from: 0, bytes: 9 * MIB },
    { from: 8 * MIB, bytes: 1.5 * MIB }, // from the last complete part on
    { from: 0, bytes: 700_000 },
  ])
  t.same(readdirSync(join(dir, 'spool')), [], 'the upload of the earlier version is discarded')
})
