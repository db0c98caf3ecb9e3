/**
 * The rate limit: smooth, fair, and shared by all uploads of a spool. Waiting for it never triggers a timeout, and
 * a wait ends with its request.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir } from 'node:fs/promises'
import * as http from 'node:http'
import { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { pace, TokenBucket } from '../../src/oss/rate-limiter.js'
import { Transport } from '../../src/oss/transport.js'
import { Spool } from '../../src/index.js'
import { bench, BUCKET, bytes, streamOf } from '../support/oss.js'
import { useProxies } from '../support/no-proxy.js'
import { SLOWEST } from '../support/slowest.js'
import { long } from '../support/long.js'
import { pathOf } from '../support/project.js'

useProxies()

const never = new AbortController().signal

/** Received chunks: time in ms and size in bytes. */
type Arrivals = { at: number; bytes: number }[]

async function read(body: AsyncIterable<Buffer>, arrivals: Arrivals = []): Promise<Arrivals> {
  for await (const chunk of body) {
    arrivals.push({ at: performance.now(), bytes: chunk.length })
  }
  return arrivals
}

const sum = (arrivals: Arrivals): number => arrivals.reduce((all, { bytes: n }) => all + n, 0)

/** Maximum number of bytes received within any `ms`. */
function peak(arrivals: Arrivals, ms: number): number {
  return Math.max(
    ...arrivals.map(({ at: from }) =>
      sum(arrivals.filter(({ at }) => at >= from && at < from + ms)),
    ),
  )
}

/** Starts a server that records the arrival of request bytes. */
async function sink(t: Test): Promise<{ url: string; arrivals: Arrivals; lengths: unknown[] }> {
  const arrivals: Arrivals = []
  const lengths: unknown[] = []
  const server = http.createServer((request, response) => {
    lengths.push(request.headers['content-length'])
    void read(request, arrivals).then(
      () => response.end(),
      () => undefined, // the client disconnected
    )
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  t.teardown(() => {
    server.close()
    server.closeAllConnections()
  })
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('not listening')
  return { url: `http://127.0.0.1:${address.port}/`, arrivals, lengths }
}

function limited(t: Test, bytesPerSecond: number): Transport {
  const transport = new Transport()
  transport.setLimits([new TokenBucket(bytesPerSecond)])
  t.teardown(() => transport.close())
  return transport
}

t.test('the rate is smooth when low, for any size of body and chunks', async t => {
  const small = Array.from({ length: 500 }, () => Buffer.alloc(100))
  const sources = [
    Buffer.alloc(50_000),
    Readable.from([Buffer.alloc(50_000)]),
    Readable.from(small),
  ]
  const smooth = async (source: Buffer | Readable): Promise<void> => {
    const rate = new TokenBucket(50_000)
    const at = performance.now()
    const arrivals = await read(pace([rate], source, never).body)
    const took = performance.now() - at
    t.equal(sum(arrivals), 50_000)
    t.ok(took > 850 && took < SLOWEST, `50 KB at 50 KB/s: ${took} ms`)
    t.ok(
      peak(arrivals, 50) <= 50_000 * 0.25,
      `at most 250 ms’ worth at once: ${peak(arrivals, 50)}`,
    )
  }
  await Promise.all(sources.map(smooth))
})

t.test('the average rate stays within a high limit', async t => {
  const rate = new TokenBucket(40_000_000)
  const at = performance.now()
  t.equal(sum(await read(pace([rate], Buffer.alloc(20_000_000), never).body)), 20_000_000)
  const took = performance.now() - at
  t.ok(took > 350 && took < SLOWEST, `20 MB at 40 MB/s: ${took} ms`)
})

t.test('concurrent bodies get equal shares of the rate', async t => {
  const rate = new TokenBucket(100_000)
  const stop = new AbortController()
  const shares: Arrivals[] = [[], [], [], []]
  const at = performance.now()
  const all = shares.map(share => read(pace([rate], Buffer.alloc(1e6), stop.signal).body, share))
  await sleep(600)
  stop.abort()
  await Promise.all(all)
  const sums = shares.map(sum)
  t.ok(Math.max(...sums) - Math.min(...sums) <= 2 * rate.slice, sums.join(' '))
  const most = (performance.now() - at + 250) * 100
  t.ok(sums.reduce((a, b) => a + b) < most, 'the sum stays within the rate')
})

t.test('an aborted waiter leaves the queue immediately and does not delay others', async t => {
  const rate = new TokenBucket(1024)
  const first = new AbortController()
  const waits = Array.from({ length: 100 }, () => rate.take(51, first.signal))
  const other = rate.take(51, never)
  first.abort()
  const at = performance.now()
  await Promise.all(waits)
  t.ok(performance.now() - at < SLOWEST)
  await other
  t.ok(performance.now() - at < SLOWEST)
  await rate.take(51, first.signal) // already aborted, so it does not wait
})

t.test('a rate-limited request arrives complete, with its length, in slices', async t => {
  const { url, arrivals, lengths } = await sink(t)
  const transport = limited(t, 100_000)
  const params = { method: 'PUT', headers: {} }
  await transport.request(url, { ...params, content: Buffer.alloc(30_000) })
  await transport.request(url, { ...params, content: 'a text' })
  const headers = { 'Content-Length': 30_000 }
  const exchange = { body: Readable.from([bytes(30_000)]) }
  await transport.request(url, { ...params, headers, ctx: () => exchange })
  t.same(lengths, ['30000', '6', '30000'])
  t.equal(sum(arrivals), 60_006)
  t.ok(peak(arrivals, 20) <= 25_000, `${peak(arrivals, 20)} bytes within 20 ms`)
  await transport.request(url, { method: 'GET', headers: {} })
})

t.test('waiting for the rate limit triggers neither the idle nor the body timeout', async t => {
  const { url } = await sink(t)
  const transport = limited(t, 1024)
  const requests = Array.from({ length: 8 }, () =>
    transport.request(url, {
      method: 'PUT',
      headers: {},
      content: Buffer.alloc(200),
      ctx: () => ({ idleTimeout: 150 }), // each waits for 8 slices of 50 ms between two own slices
    }),
  )
  t.same(
    (await Promise.all(requests)).map(({ status }) => status),
    requests.map(() => 200),
  )
})

t.test('an abort ends the wait and the request immediately', async t => {
  const { url } = await sink(t)
  const transport = limited(t, 1024)
  const stop = new AbortController()
  const request = (): Promise<unknown> => {
    const body = Readable.from([Buffer.alloc(100_000)])
    const headers = { 'content-length': 100_000 }
    const params = { method: 'PUT', headers, ctx: () => ({ body, signal: stop.signal }) }
    return transport.request(url, params).catch((error: unknown) => error)
  }
  const requests = Array.from({ length: 5 }, request)
  await sleep(150)
  const at = performance.now()
  stop.abort()
  for (const error of await Promise.all(requests)) t.match(error, { name: 'AbortError' })
  t.ok(performance.now() - at < SLOWEST)
  await sleep(20)
  const next = { method: 'PUT', headers: {}, content: 'x' }
  t.equal(
    (await transport.request(url, next)).status,
    200,
    'aborted requests no longer occupy the queue',
  )
})

t.test('a rate-limited request rejects with the error of its body', async t => {
  const { url } = await sink(t)
  const broken = new Error('the disk')
  async function* body(): AsyncGenerator<Buffer> {
    yield Buffer.alloc(1000)
    throw broken
  }
  const params = { method: 'PUT', headers: {}, ctx: () => ({ body: body() }) }
  const request = limited(t, 4096).request(url, params)
  t.equal(await request.catch((error: unknown) => error), broken)
})

t.test('maxRate limits the combined rate of all uploads of a spool', async t => {
  const { another, get } = await bench(t)
  const spool = another({ maxRate: 400_000 })
  const data = bytes(200_000)
  const at = performance.now()
  await Promise.all(
    ['a', 'b'].map(key => pipeline(streamOf(data), spool.createWriteStream(key, { parallel: 2 }))),
  )
  const took = performance.now() - at
  t.ok(took > 850 && took < SLOWEST, `400 KB at 400 KB/s: ${took} ms`)
  t.same(await get('a'), data)
  t.same(await get('b'), data)
})

t.test('maxRate is validated', t => {
  const client = {
    accessKeyId: 'a',
    accessKeySecret: 'b',
    region: 'oss-cn-hangzhou',
    bucket: 'abc',
  }
  const make = (maxRate: unknown) => () => new Spool({ client, maxRate: maxRate as number })
  for (const wrong of [0, -1, 1023, Number.NaN, Infinity]) {
    t.throws(make(wrong), { name: 'RangeError', code: 'ERR_OUT_OF_RANGE', message: /maxRate/ })
  }
  t.throws(make('1MB'), { name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' })
  t.doesNotThrow(make(1024))
  t.end()
})

void long(t, '--max-rate limits the rate and rejects rates below 1 KiB/s', async t => {
  const { oss, get, dir: cwd } = await bench(t)
  await mkdir(cwd)
  const { accessKeyId, accessKeySecret } = oss.clientOptions()
  const run = async (rate: string, input: Buffer) => {
    const bin = pathOf('dist/cli/bin.js')
    const args = ['put', `oss://${BUCKET}/k`, '--endpoint', oss.endpoint, '--max-rate', rate]
    const child = spawn(process.execPath, [bin, ...args, '--region', 'cn-hangzhou', '--json'], {
      cwd,
      env: {
        PATH: process.env['PATH'],
        HOME: cwd,
        OSS_ACCESS_KEY_ID: accessKeyId,
        OSS_ACCESS_KEY_SECRET: accessKeySecret,
      },
    })
    child.stdin.on('error', () => undefined) // on wrong usage, the process exits before reading it
    child.stdin.end(input)
    const closed = once(child, 'close')
    const [out, err] = await Promise.all([text(child.stdout), text(child.stderr)])
    return { status: (await closed)[0] as unknown, out, err }
  }
  const data = bytes(100_000)
  const { status, out, err } = await run('100KB', data)
  t.equal(status, 0, err)
  const { elapsed } = JSON.parse(out) as { elapsed: number } // our own output
  t.ok(elapsed > 800 && elapsed < SLOWEST, `100 KB at 100 KB/s: ${elapsed} ms`)
  t.ok((await get('k'))?.equals(data))
  t.match(await run('1000', data), { status: 2, err: /at least 1KiB/ })
})
