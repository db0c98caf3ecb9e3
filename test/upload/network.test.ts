/** Uploads over slow, failing and throttled connections, with expiring tokens and wrong clocks. */
import { createServer } from 'node:http'
import { EventEmitter, once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { PassThrough } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import t from 'tap'
import { Spool } from '../../src/index.js'
import { bench, BUCKET, bytes, streamOf, type Bench } from '../support/oss.js'
import { LONG, long } from '../support/long.js'

const PART = 102_400
const QUICK = { attempts: 6, minDelay: 1, maxDelay: 5 }

const sleep = (ms: number) => new Promise(resolve => setTimeout(resolve, ms))

// --- throttling ----------------------------------------------------------------------------------

void long(t, 'an upload throttled by OSS completes and warns once', async t => {
  const b = await bench(t, {
    spool: { parallel: 16, retry: { attempts: 20, minDelay: 5, maxDelay: 50 } },
  })
  b.oss.inject({
    operation: 'UploadPart',
    do: 'answer',
    status: 503,
    code: 'UploadTrafficRateLimitExceeded',
    nth: 17,
    times: 24,
  })
  b.oss.link = { latency: 10 }
  const data = bytes(100 * PART)
  const sink = b.spool.createWriteStream('throttled', { start: 'sealed' })
  await pipeline(streamOf(data, 1_000_000), sink)
  t.same(await b.get('throttled'), data)
  const refused = b.oss.requests.filter(r => r.status === 503).length
  t.equal(refused, 24)
  t.equal(b.warnings.filter(w => /UploadTraffic/.test(w.message)).length, 1, 'one warning')
})

// --- outages -------------------------------------------------------------------------------------

t.test(
  'an outage during a stream does not stop the source, and the upload finishes afterwards',
  async t => {
    const b = await bench(t, {
      spool: { retry: { attempts: 2, minDelay: 5, maxDelay: 20, minRetryTime: 60_000 } },
    })
    const source = new PassThrough()
    const data = bytes(8 * PART)
    const sink = b.spool.createWriteStream('outage')
    const done = pipeline(source, sink)
    source.write(data.subarray(0, 3 * PART))
    while (b.count('UploadPart') < 2) await sleep(5)
    const away = b.oss.inject({ do: 'reset', at: 'start', times: 'always' })
    source.end(data.subarray(3 * PART))
    while ((await b.spool.uploads())[0]?.phase !== 'sealed') await sleep(5)
    await away.hit(away.hits + 20) // ten times the attempts
    away.remove()
    await done
    t.same(await b.get('outage'), data)
  },
)

// --- credentials ---------------------------------------------------------------------------------

function provided(b: Bench, life: number) {
  let inFlight = 0
  const seen = { fetches: 0, most: 0, expired: new Map<string, number>() }
  const credentials = async () => {
    seen.fetches++
    seen.most = Math.max(seen.most, ++inFlight)
    await sleep(20)
    inFlight--
    return b.oss.sts.issue(life / 1000)
  }
  const { endpoint, region } = b.oss.clientOptions(BUCKET)
  const spool = new Spool({
    client: { endpoint, region, bucket: BUCKET, credentials },
    dir: b.dir,
    partSize: PART,
    parallel: 16,
    retry: QUICK,
  })
  return { spool, seen }
}

void long(t, 'an upload with 16 concurrent parts survives constantly expiring tokens', async t => {
  const b = await bench(t)
  const { spool, seen } = provided(b, 1000)
  b.oss.link = { latency: 30, totalBandwidth: 8_000_000 }
  const data = bytes(250 * PART)
  const sink = spool.createWriteStream('tokens')
  await pipeline(streamOf(data, 500_000), sink)
  b.oss.link = {}
  t.same(await b.get('tokens'), data)
  t.equal(
    b.oss.requests.filter(r => r.status === 403).length,
    0,
    'no request used an expired token',
  )
  t.equal(seen.most, 1, 'fetches of credentials are not concurrent')
  t.ok(seen.fetches >= 3)
  t.equal(b.count('InitiateMultipartUpload'), 1, 'the same upload id under new credentials')
})

t.test('a revoked token is fetched again once, and the part is resent immediately', async t => {
  const b = await bench(t)
  const { spool, seen } = provided(b, 3_600_000)
  b.oss.inject({ operation: 'UploadPart', partNumber: 3, do: 'expire' })
  const data = bytes(8 * PART)
  const warnings: unknown[] = []
  spool.on('warning', warning => warnings.push(warning))
  await pipeline(streamOf(data), spool.createWriteStream('revoked'))
  t.same(await b.get('revoked'), data)
  t.equal(seen.fetches, 2)
  t.same(warnings, [], 'no warning')
})

t.test('a failing credentials provider causes a resumable error without its message', async t => {
  const b = await bench(t)
  const { endpoint, region } = b.oss.clientOptions(BUCKET)
  const credentials = () => {
    throw new Error('secret-of-the-vault')
  }
  const spool = new Spool({
    client: { endpoint, region, bucket: BUCKET, credentials },
    dir: b.dir,
    retry: QUICK,
  })
  const sink = spool.createWriteStream('vault')
  const error = await pipeline(streamOf(bytes(10)), sink).catch((e: unknown) => e)
  t.match(error, { code: 'ERR_SPOOL_DENIED', resumable: true })
  const { inspect } = await import('node:util')
  t.notMatch(inspect(error, { depth: 9 }), 'secret-of-the-vault')
  t.equal(b.oss.requests.length, 0)
  await sink.result.catch(() => undefined)
  t.match(await b.spool.uploads(), [{ phase: 'sealed' }], 'no request may have published it')
  t.match(await b.another().resume(sink.id), { size: 10 }, 'other credentials finish the upload')
})

t.test('an abort does not wait for a credentials provider that does not answer', async t => {
  const b = await bench(t)
  const { endpoint, region } = b.oss.clientOptions(BUCKET)
  const asked = new EventEmitter()
  const credentials = () => {
    process.nextTick(() => asked.emit('call'))
    return new Promise<never>(() => {})
  }
  const spool = new Spool({ client: { endpoint, region, bucket: BUCKET, credentials }, dir: b.dir })
  const abort = new AbortController()
  const call = once(asked, 'call')
  const sink = spool.createWriteStream('silent-vault', { signal: abort.signal })
  const uploading = pipeline(streamOf(bytes(10)), sink)
  await call
  abort.abort()
  await t.rejects(uploading, { code: 'ERR_SPOOL_ABORTED', resumable: true })
  await t.rejects(sink.result, { code: 'ERR_SPOOL_ABORTED', resumable: true })
  t.match(await b.another().resume(sink.id), { size: 10 })
})

t.test('an abort does not wait for new credentials in place of expired ones', async t => {
  const b = await bench(t)
  const refused = b.oss.inject({ do: 'answer', status: 403, code: 'AccessDenied', times: 'always' })
  await t.rejects(pipeline(streamOf(bytes(10)), b.spool.createWriteStream('k', { id: 'k' })))
  refused.remove()
  b.oss.inject({ do: 'answer', status: 403, code: 'SecurityTokenExpired', times: 'always' })
  const { accessKeyId, accessKeySecret, ...place } = b.oss.clientOptions(BUCKET)
  const abort = new AbortController()
  let calls = 0
  const credentials = () => {
    if (calls++ === 0) return { accessKeyId, accessKeySecret }
    process.nextTick(() => abort.abort())
    return new Promise<never>(() => {})
  }
  const spool = new Spool({ client: { ...place, credentials }, dir: b.dir })
  const resuming = spool.resume('k', { signal: abort.signal })
  await t.rejects(resuming, { code: 'ERR_SPOOL_ABORTED', resumable: true })
})

t.test(
  "a clock that is wrong by an hour is corrected to the server's time after the first request",
  async t => {
    const b = await bench(t)
    const skewed = b.oss.inject({ do: 'skew', ms: 3_600_000, times: 'always' })
    const data = bytes(5 * PART)
    const sink = b.spool.createWriteStream('clock')
    await pipeline(streamOf(data), sink)
    t.equal(b.oss.requests.filter(r => r.code === 'RequestTimeTooSkewed').length <= 2, true)
    skewed.remove()
    t.same(await b.get('clock'), data)
  },
)

// --- silence -------------------------------------------------------------------------------------

t.test('Complete may take longer than the timeout of other requests', async t => {
  const b = await bench(t, { spool: { timeout: 300 } })
  b.oss.inject({ operation: 'CompleteMultipartUpload', do: 'delay', ms: 1500, at: 'received' })
  const data = bytes(3 * PART)
  await pipeline(streamOf(data), b.spool.createWriteStream('slow to complete'))
  t.same(await b.get('slow to complete'), data)
  const requests = b.oss.requests.filter(r => r.operation === 'CompleteMultipartUpload')
  t.match(requests, [{ status: 200 }], 'it is sent once, and its reply is awaited')
  t.equal(requests.length, 1)
  t.same(b.warnings, [], 'it did not fail')
})

// --- callbacks -----------------------------------------------------------------------------------

t.test(
  "a callback's reply is in the result, and a failing callback leaves the object and a warning",
  async t => {
    const b = await bench(t)
    let status = 200
    const server = createServer((request, response) => {
      request.resume()
      request.on('end', () =>
        response.writeHead(status, { 'content-type': 'application/json' }).end('{"ok":true}'),
      )
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    t.teardown(() => server.close())
    const { port } = server.address() as AddressInfo // it listens on TCP
    const callback = { url: `http://127.0.0.1:${port}/done`, body: 'object=${object}' }
    for (const size of [10, 3 * PART]) {
      status = 200
      const data = bytes(size)
      const good = b.spool.createWriteStream(`good-${size}`, { callback })
      await pipeline(streamOf(data), good)
      t.match(await good.result, { callback: { ok: true } })
      status = 500
      const warned = b.warnings.length
      const bad = b.spool.createWriteStream(`bad-${size}`, { callback })
      await pipeline(streamOf(data), bad)
      t.same(await b.get(`bad-${size}`), data)
      t.match(b.warnings.slice(warned), [{ message: /callback failed/ }])
    }
  },
)

// --- concurrency ---------------------------------------------------------------------------------

const UPLOADS = LONG ? 100 : 40
/** An upload in parts. */
const CANCELLED = 21

t.test(
  `${UPLOADS} concurrent uploads over one client are independent, and cancelling one affects no other`,
  async t => {
    const b = await bench(t, { spool: { parallel: 3 } })
    const all = Array.from({ length: UPLOADS }, (_, i) => ({
      key: `many-${i}`,
      data: bytes(i % 2 ? 2 * PART + i : 100 + i),
    }))
    const cancelled = new AbortController()
    const results = await Promise.all(
      all.map(({ key, data }, i) => {
        const sink = b.spool.createWriteStream(
          key,
          i === CANCELLED ? { signal: cancelled.signal } : {},
        )
        if (i === CANCELLED) sink.once('progress', () => cancelled.abort())
        return pipeline(streamOf(data), sink).then(
          () => 'done',
          (e: { code: string }) => e.code,
        )
      }),
    )
    t.same([...new Set(results)].toSorted(), ['ERR_SPOOL_ABORTED', 'done'])
    t.equal(results.filter(r => r === 'done').length, UPLOADS - 1)
    for (const [i, { key, data }] of all.entries()) {
      if (i !== CANCELLED) t.ok((await b.get(key))?.equals(data), key)
    }
  },
)
