/** Long, bad and throttled links, tokens that expire, clocks that are wrong: the upload arrives all the same. */
import { createServer } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { PassThrough } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import t from 'tap'
import { Spool } from '../../src/index.js'
import { bench, BUCKET, bytes, streamOf, type Bench } from '../support/oss.js'
import { long } from '../support/long.js'

const PART = 102_400
const QUICK = { attempts: 6, minDelay: 1, maxDelay: 5 }

const sleep = (ms: number) => new Promise(resolve => setTimeout(resolve, ms))

// --- throttling ----------------------------------------------------------------------------------

void long(
  t,
  'when OSS throttles, fewer parts go out at a time, and more again when it does not',
  async t => {
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
    t.equal(b.warnings.filter(w => /UploadTraffic/.test(w.message)).length, 1, 'said once')
  },
)

// --- an hour away --------------------------------------------------------------------------------

t.test(
  'an outage in the middle of a stream: it is read to its end, sealed, and finished when OSS is back',
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

void long(t, 'tokens that expire all the time under 16 parallel parts', async t => {
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
    'none went out with an expired token',
  )
  t.equal(seen.most, 1, 'one fetch at a time')
  t.ok(seen.fetches >= 3)
  t.equal(b.count('InitiateMultipartUpload'), 1, 'the same upload id under new credentials')
})

t.test(
  'a token that is revoked early: fetched anew once, and the part is sent again at once',
  async t => {
    const b = await bench(t)
    const { spool, seen } = provided(b, 3_600_000)
    b.oss.inject({ operation: 'UploadPart', partNumber: 3, do: 'expire' })
    const data = bytes(8 * PART)
    const warnings: unknown[] = []
    spool.on('warning', warning => warnings.push(warning))
    await pipeline(streamOf(data), spool.createWriteStream('revoked'))
    t.same(await b.get('revoked'), data)
    t.equal(seen.fetches, 2)
    t.same(warnings, [], 'nothing to worry anyone')
  },
)

t.test(
  'a provider that fails: no request, resumable, its secrets are nobody’s business',
  async t => {
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
    t.match(await b.another().resume(sink.id), { size: 10 }, 'other credentials finish it')
  },
)

t.test(
  'a clock that is wrong by an hour: signed with the server’s time from the second request on',
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

t.test('Complete may be silent for longer than any other request', async t => {
  const b = await bench(t, { spool: { timeout: 300 } })
  b.oss.inject({ operation: 'CompleteMultipartUpload', do: 'delay', ms: 1500, at: 'received' })
  const data = bytes(3 * PART)
  await pipeline(streamOf(data), b.spool.createWriteStream('slow to complete'))
  t.same(await b.get('slow to complete'), data)
  t.equal(b.count('CompleteMultipartUpload'), 1)
  t.equal(b.count('HeadObject'), 0, 'there was nothing to doubt')
})

// --- callbacks -----------------------------------------------------------------------------------

t.test(
  'a callback: its answer is in the result; one that fails leaves a stored object and a warning',
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

// --- many at once --------------------------------------------------------------------------------

t.test(
  '100 uploads at once over one client: no cross-talk, cancelling one touches no other',
  async t => {
    const b = await bench(t, { spool: { parallel: 3 } })
    const all = Array.from({ length: 100 }, (_, i) => ({
      key: `many-${i}`,
      data: bytes(i % 2 ? 2 * PART + i : 100 + i),
    }))
    const cancelled = new AbortController()
    const results = await Promise.all(
      all.map(({ key, data }, i) => {
        const sink = b.spool.createWriteStream(key, i === 51 ? { signal: cancelled.signal } : {})
        if (i === 51) sink.once('progress', () => cancelled.abort())
        return pipeline(streamOf(data), sink).then(
          () => 'done',
          (e: { code: string }) => e.code,
        )
      }),
    )
    t.same([...new Set(results)].toSorted(), ['ERR_SPOOL_ABORTED', 'done'])
    t.equal(results.filter(r => r === 'done').length, 99)
    for (const [i, { key, data }] of all.entries()) {
      if (i !== 51) t.ok((await b.get(key))?.equals(data), key)
    }
  },
)
