/**
 * The write stream: the meaning of `finish`, its failures, and the state it leaves. Uses the real `ali-oss`
 * client.
 */
import { once } from 'node:events'
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, watch } from 'node:fs'
import { open, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { mock } from 'node:test'
import OSS from 'ali-oss'
import t from 'tap'
import { SpoolError } from '../src/index.js'
import { connect } from '../src/oss/connection.js'
import { bench, BUCKET, bytes, failingAfter, streamOf } from './support/oss.js'
import { urlOf } from './support/project.js'
import { SLOWEST } from './support/slowest.js'

const PART = 102_400

for (const v4 of [false, true]) {
  t.test(
    `createWriteStream() uploads every edge size unchanged with V${v4 ? 4 : 1} signatures`,
    async t => {
      const { spool, get, oss, dir } = await bench(t, { v4 })
      for (const size of [0, 1, PART - 1, PART, PART + 1, 3 * PART + 1]) {
        const data = bytes(size)
        const sink = spool.createWriteStream(`edge/${size} &+ü.bin`)
        await pipeline(streamOf(data), sink)
        const result = await sink.result
        t.equal(result.size, size)
        t.equal(result.sent, size)
        t.equal(result.skipped, 0)
        t.equal(result.parts, size <= PART ? 1 : Math.ceil(size / PART))
        t.same(await get(`edge/${size} &+ü.bin`), data, `${size} bytes`)
      }
      t.same(await readdir(dir), [], 'the spool directory is empty')
      const puts = oss.requests.filter(r => r.operation === 'PutObject')
      t.equal(puts.length, 4, 'streams of at most one part use PutObject')
    },
  )
}

t.test('a sink emits finish only after OSS has completed the upload', async t => {
  const { spool, oss } = await bench(t)
  const held = oss.inject({ operation: 'CompleteMultipartUpload', do: 'hang', at: 'received' })
  const sink = spool.createWriteStream('late')
  let finished = false
  sink.on('finish', () => (finished = true))
  streamOf(bytes(3 * PART)).pipe(sink)
  await held.hit()
  t.equal(finished, false)
  held.remove()
  await once(sink, 'finish')
  t.equal((await sink.result).parts, 3)
})

t.test('a sink accepts bytes and strings with an encoding', async t => {
  const { spool, get } = await bench(t)
  const sink = spool.createWriteStream('text')
  sink.write('zażółć ')
  sink.write('6869', 'hex')
  sink.write(new Uint8Array([33]))
  sink.end()
  await once(sink, 'finish')
  t.equal((await get('text'))?.toString(), 'zażółć hi!')
})

t.test('a sink sends parts while the source is still flowing', async t => {
  const { spool, count } = await bench(t)
  const source = new PassThrough()
  const sink = spool.createWriteStream('eager')
  const done = pipeline(source, sink)
  source.write(bytes(2 * PART + 1))
  while (count('UploadPart') < 2) await new Promise(resolve => setTimeout(resolve, 5))
  t.equal(count('CompleteMultipartUpload'), 0)
  source.end()
  await done
})

t.test('a sink initiates its upload before the first of its large parts is complete', async t => {
  const { spool, count } = await bench(t)
  const sink = spool.createWriteStream('large-parts', { partSize: 64 * 1024 * 1024 })
  sink.on('error', () => {}) // `destroy()` ends the test
  sink.write(Buffer.alloc(17 * 1024 * 1024)) // more than one PutObject sends
  while (count('InitiateMultipartUpload') < 1) await sleep(5)
  sink.destroy()
  await t.rejects(sink.result)
})

t.test('a slow short sink with start: first-part costs one request', async t => {
  const { spool, oss, get } = await bench(t)
  const sink = spool.createWriteStream('small', { start: 'first-part' })
  sink.write('some ')
  await new Promise(resolve => setTimeout(resolve, 500))
  t.equal(oss.requests.length, 0)
  sink.end('bytes')
  await once(sink, 'finish')
  t.same(
    oss.requests.map(({ operation }) => operation),
    ['PutObject'],
  )
  t.equal((await get('small'))?.toString(), 'some bytes')
})

t.test('a sink with start: first-part sends parts once the first one is exceeded', async t => {
  const { spool, oss, count, get } = await bench(t)
  const data = bytes(2 * PART + 1)
  const sink = spool.createWriteStream('long', { start: 'first-part' })
  sink.write(data.subarray(0, PART))
  await new Promise(resolve => setTimeout(resolve, 500))
  t.equal(oss.requests.length, 0, 'a single PutObject may still suffice')
  sink.write(data.subarray(PART))
  while (count('UploadPart') < 2) await new Promise(resolve => setTimeout(resolve, 5))
  t.equal(count('CompleteMultipartUpload'), 0)
  sink.end()
  await once(sink, 'finish')
  t.same(await get('long'), data)
})

t.test('a sink with start: sealed sends nothing before the end of the source', async t => {
  const { spool, oss, get } = await bench(t)
  const data = bytes(3 * PART)
  const source = new PassThrough()
  const sink = spool.createWriteStream('after', { start: 'sealed' })
  const done = pipeline(source, sink)
  source.write(data)
  await new Promise(resolve => setTimeout(resolve, 500))
  t.equal(oss.requests.length, 0)
  source.end()
  await done
  t.same(await get('after'), data)
})

t.test(
  'a sink destroyed before end() publishes nothing and leaves a record without bytes',
  async t => {
    const { spool, get, count, dir } = await bench(t)
    const sink = spool.createWriteStream('cut', { id: 'cut' })
    sink.write(bytes(3 * PART))
    while (count('UploadPart') < 2) await new Promise(resolve => setTimeout(resolve, 5))
    sink.destroy()
    await t.rejects(sink.result, { code: 'ERR_SPOOL_SOURCE_FAILED', resumable: false })
    await once(sink, 'close').catch(() => undefined)
    t.equal(await get('cut'), undefined)
    t.equal(count('CompleteMultipartUpload') + count('PutObject'), 0)
    t.equal(count('AbortMultipartUpload'), 0, 'not aborted by default')
    t.match(await spool.uploads(), [
      { id: 'cut', phase: 'spooling', error: { code: 'ERR_SPOOL_SOURCE_FAILED' } },
    ])
    t.same((await readdir(join(dir, 'cut'))).toSorted(), ['checkpoint.json', 'lock'])
    await t.rejects(spool.resume('cut'), { code: 'ERR_SPOOL_UNSEALED' })
  },
)

t.test(
  'a failing source rejects pipeline() with its own error and the result with ERR_SPOOL_SOURCE_FAILED',
  async t => {
    const { spool, get } = await bench(t)
    const broken = new Error('the database went away')
    const sink = spool.createWriteStream('source')
    await t.rejects(pipeline(failingAfter(bytes(2 * PART), broken), sink), broken)
    await t.rejects(sink.result, { code: 'ERR_SPOOL_SOURCE_FAILED', cause: broken })
    t.equal(await get('source'), undefined)
  },
)

t.test(
  'a missing bucket warns immediately, the source is read to its end, and resume() finishes',
  async t => {
    const { spool, oss, get, another } = await bench(t)
    const missing = oss.inject({ do: 'answer', status: 404, code: 'NoSuchBucket', times: 'always' })
    const data = bytes(5 * PART)
    const source = new PassThrough()
    const sink = spool.createWriteStream('misspelt')
    const warned = once(sink, 'warning')
    const done = pipeline(source, sink)
    source.write(data.subarray(0, 1000))
    const started = performance.now()
    t.match(await warned, [{ message: /NoSuchBucket/ }])
    t.ok(performance.now() - started < SLOWEST, 'warned before the source ends')
    source.end(data.subarray(1000))
    const error = await done.catch((e: unknown) => e)
    t.match(error, {
      code: 'ERR_SPOOL_DENIED',
      resumable: true,
      ossCode: 'NoSuchBucket',
      status: 404,
    })
    t.match(await spool.uploads(), [
      { phase: 'sealed', size: data.length, error: { code: 'ERR_SPOOL_DENIED' } },
    ])
    missing.remove()
    const result = await another().resume(sink.id)
    t.match(result, { resumed: true, sourceRead: false, sent: data.length })
    t.same(await get('misspelt'), data)
    t.same(await spool.uploads(), [])
  },
)

t.test('5xx replies and lost connections are retried with fresh bodies', async t => {
  const { spool, oss, get, warnings } = await bench(t)
  oss.inject({
    operation: 'InitiateMultipartUpload',
    do: 'answer',
    status: 503,
    code: 'ServiceUnavailable',
  })
  oss.inject({ operation: 'UploadPart', partNumber: 1, do: 'reset', at: 'body' })
  oss.inject({
    operation: 'UploadPart',
    partNumber: 2,
    do: 'answer',
    status: 500,
    code: 'InternalError',
    times: 2,
  })
  oss.inject({ operation: 'UploadPart', partNumber: 3, do: 'reset', at: 'done' })
  oss.inject({
    operation: 'CompleteMultipartUpload',
    do: 'answer',
    status: 503,
    code: 'ServiceUnavailable',
  })
  const data = bytes(4 * PART)
  const sink = spool.createWriteStream('bumpy')
  await pipeline(streamOf(data), sink)
  t.same(await get('bumpy'), data)
  t.ok(warnings.length >= 3, 'each kind of failure is reported as a warning')
})

t.test('a part acknowledged with a wrong CRC64 is sent again', async t => {
  const { spool, oss, get } = await bench(t)
  oss.inject({
    operation: 'UploadPart',
    partNumber: 2,
    do: 'alter',
    headers: { 'x-oss-hash-crc64ecma': '1' },
  })
  const data = bytes(3 * PART)
  const sink = spool.createWriteStream('wrong')
  await pipeline(streamOf(data), sink)
  t.equal((await sink.result).sent, data.length)
  t.same(await get('wrong'), data)
})

t.test('resume() sends only the missing parts after a permanent failure of some parts', async t => {
  const { spool, oss, another, get } = await bench(t)
  const away = oss.inject({
    operation: 'UploadPart',
    partNumber: [3, 5],
    do: 'answer',
    status: 503,
    code: 'ServiceUnavailable',
    times: 'always',
  })
  const data = bytes(5 * PART + 17)
  const sink = spool.createWriteStream('rest')
  const error = await pipeline(streamOf(data), sink).catch((e: unknown) => e)
  t.match(error, { code: 'ERR_SPOOL_UPLOAD_FAILED', resumable: true, status: 503, id: sink.id })
  t.ok(error instanceof SpoolError && error.cause instanceof Error, 'the error has a cause')
  away.remove()
  const [status] = await spool.uploads()
  t.equal(status?.phase, 'sealed')
  const connection = connect(oss.clientOptions(BUCKET))
  const bucket = connection.open(connection.place())
  const parts = await bucket.listParts('rest', status?.uploadId ?? '', {})
  const there = [...(parts?.values() ?? [])].reduce((sum, { size }) => sum + size, 0)
  t.ok(there > 0)
  const result = await another().resume(sink.id)
  t.equal(result.skipped, there, 'acknowledged parts are not sent again')
  t.equal(result.sent, data.length - there)
  t.same(await get('rest'), data)
})

t.test(
  'a second sink with the same id fails with ERR_SPOOL_LOCKED while the first is open',
  async t => {
    const { spool, another } = await bench(t)
    const first = spool.createWriteStream('one', { id: 'job' })
    first.write('x')
    await new Promise(resolve => setTimeout(resolve, 50))
    const second = another().createWriteStream('one', { id: 'job' })
    const [error] = await once(second, 'error')
    t.match(error, {
      code: 'ERR_SPOOL_LOCKED',
      resumable: true,
      message: /this process itself/,
      hint: /result.*another id/,
    })
    t.notMatch(error.hint, /end that process/)
    await t.rejects(spool.abort('job'), { code: 'ERR_SPOOL_LOCKED', hint: /result/ })
    t.match(await spool.uploads(), [{ id: 'job', owner: { pid: process.pid } }])
    first.end()
    await once(first, 'finish')
  },
)

t.test('an id of another object fails with ERR_SPOOL_ID_IN_USE', async t => {
  const { spool, oss } = await bench(t)
  oss.inject({ do: 'answer', status: 403, code: 'AccessDenied', times: 'always' })
  await t.rejects(pipeline(streamOf(bytes(10)), spool.createWriteStream('a', { id: 'x' })), {
    code: 'ERR_SPOOL_DENIED',
  })
  await t.rejects(pipeline(streamOf(bytes(10)), spool.createWriteStream('b', { id: 'x' })), {
    code: 'ERR_SPOOL_ID_IN_USE',
  })
  await t.rejects(
    spool.upload('b', () => streamOf(bytes(1)), { id: 'x' }),
    { code: 'ERR_SPOOL_ID_IN_USE' },
  )
})

t.test('a signal aborts an unsealed upload for good and keeps a sealed one resumable', async t => {
  const { spool, oss, another, get } = await bench(t)
  const early = new AbortController()
  const source = new PassThrough()
  const cut = spool.createWriteStream('early', { signal: early.signal })
  const done = pipeline(source, cut)
  source.write(bytes(10))
  setTimeout(() => early.abort(), 20)
  await t.rejects(done, { code: 'ERR_SPOOL_ABORTED', resumable: false })
  source.destroy()

  const late = new AbortController()
  const held = oss.inject({ operation: 'CompleteMultipartUpload', do: 'hang', times: 'always' })
  const data = bytes(3 * PART)
  const sink = spool.createWriteStream('late', { signal: late.signal })
  const ended = pipeline(streamOf(data), sink)
  await held.hit()
  const at = performance.now()
  late.abort()
  await t.rejects(ended, { code: 'ERR_SPOOL_ABORTED', resumable: true })
  t.ok(performance.now() - at < SLOWEST)
  held.remove()
  await new Promise(resolve => (sink.closed ? resolve(null) : sink.once('close', resolve)))
  t.match(await another().resume(sink.id), { size: data.length, sent: 0 })
  t.same(await get('late'), data)
})

t.test('a sink aborted after OSS has its object says so and is not resumable', async t => {
  const { spool, oss, get, count } = await bench(t)
  const data = bytes(3 * PART)
  const before = failingAfter(data, new Error('cut'), () => count('UploadPart') >= 2)
  await t.rejects(pipeline(before, spool.createWriteStream('done')))
  const aborting = oss.inject({ operation: 'AbortMultipartUpload', do: 'hang' })
  const abort = new AbortController()
  // Its own upload id, as the metadata differ: the other one is aborted at the end.
  const sink = spool.createWriteStream('done', { meta: { a: 'b' }, signal: abort.signal })
  const uploading = pipeline(streamOf(data), sink)
  await aborting.hit()
  abort.abort()
  await t.rejects(uploading, { code: 'ERR_SPOOL_ABORTED', resumable: false })
  t.match(await sink.result, { size: data.length })
  t.same(await get('done'), data)
})

t.test('a sink that is destroyed while it asks for the outcome of an earlier upload', async t => {
  const { spool, oss } = await bench(t)
  oss.inject({ operation: 'PutObject', do: 'reset', at: 'done', times: 'always' })
  const refused = oss.inject({
    operation: 'HeadObject',
    do: 'answer',
    status: 403,
    times: 'always',
  })
  await t.rejects(pipeline(streamOf(bytes(10)), spool.createWriteStream('early')))
  refused.remove()
  const boom = new Error('boom')
  const abort = new AbortController()
  const cases = [
    ['fails with the reason of its source', boom, boom, 'ERR_SPOOL_SOURCE_FAILED'],
    ['emits no error without one', undefined, undefined, 'ERR_SPOOL_SOURCE_FAILED'],
    ['fails as aborted by its signal', abort, SpoolError, 'ERR_SPOOL_ABORTED'],
  ] as const
  for (const [title, how, expected, code] of cases) {
    await t.test(title, async t => {
      const asking = oss.inject({ operation: 'HeadObject', do: 'hang' })
      const sink = spool.createWriteStream('early', { signal: abort.signal })
      const errors: Error[] = []
      sink.on('error', error => errors.push(error))
      const closed = new Promise<void>(resolve => sink.once('close', resolve))
      await asking.hit()
      if (how instanceof AbortController) how.abort()
      else sink.destroy(how)
      await t.rejects(sink.result, { code, resumable: false })
      await closed
      asking.remove()
      t.equal(errors.length, expected === undefined ? 0 : 1)
      if (expected === SpoolError) t.match(errors, [{ name: 'SpoolError', code }])
      else if (expected !== undefined) t.equal(errors[0], expected)
    })
  }
})

t.test('a sink that is destroyed while another one has its lock closes', async t => {
  const { spool, another } = await bench(t)
  const first = spool.createWriteStream('key', { id: 'id' })
  first.write(bytes(10))
  while ((await spool.uploads()).length === 0) await sleep(5)
  for (const delay of [0, 5, 20]) {
    const second = another().createWriteStream('key', { id: 'id' })
    second.on('error', () => {}) // it may have found the lock before it is destroyed
    const closed = new Promise(resolve => second.once('close', resolve))
    await sleep(delay)
    second.destroy()
    await closed
    await t.rejects(second.result, { name: 'SpoolError' })
  }
  first.end()
  t.match(await first.result, { size: 10 })
})

t.test('invalid keys and options are rejected before any I/O', async t => {
  const { spool, oss, dir } = await bench(t)
  for (const key of ['', '/a', '\\a', 'a/../b', './a', '..', 'x'.repeat(1024), 'a\ud800']) {
    t.throws(() => spool.createWriteStream(key), { code: 'ERR_SPOOL_INVALID_KEY' })
    await t.rejects(
      spool.upload(key, () => streamOf(bytes(1))),
      { code: 'ERR_SPOOL_INVALID_KEY' },
    )
  }
  t.throws(() => spool.createWriteStream('k', { partSize: 5 }), RangeError)
  t.throws(() => spool.createWriteStream('k', { id: '../up' }), TypeError)
  t.equal(oss.requests.length, 0)
  await t.rejects(readdir(dir), { code: 'ENOENT' })
})

t.test('a failed expectation publishes nothing', async t => {
  const { spool, get } = await bench(t)
  const data = bytes(2 * PART)
  const md5 = '0'.repeat(32)
  for (const options of [
    { size: 5 },
    { size: data.length + 1 },
    { expect: { md5 } },
    { expect: { crc64: '1' } },
  ]) {
    const sink = spool.createWriteStream('expected', options)
    await t.rejects(pipeline(streamOf(data), sink), {
      code: 'ERR_SPOOL_EXPECTATION',
      resumable: false,
    })
    t.equal(await get('expected'), undefined)
  }
  const { createHash } = await import('node:crypto')
  const sha256 = createHash('sha256').update(data).digest('hex').toUpperCase()
  const sink = spool.createWriteStream('expected', {
    size: data.length,
    expect: { sha256, bytes: data.length },
  })
  await pipeline(streamOf(data), sink)
  t.same(await get('expected'), data)
})

t.test('object options are applied to the object on OSS', async t => {
  const { spool, oss } = await bench(t)
  const client = new OSS(oss.clientOptions(BUCKET))
  // This method is missing from the typings of ali-oss.
  const tagging = client as unknown as { getObjectTagging(key: string): Promise<unknown> }
  for (const size of [10, 2 * PART]) {
    const sink = spool.createWriteStream(`meta-${size}.csv`, {
      meta: { owner: 'me', city: '東京' },
      headers: { 'Cache-Control': 'no-store' },
      mime: 'text/x-test',
      acl: 'public-read',
      storageClass: 'IA',
      tags: { team: 'a=b+c' },
    })
    await pipeline(streamOf(bytes(size)), sink)
    const head = await client.head(`meta-${size}.csv`)
    t.match(head.meta, { owner: 'me', city: '%E6%9D%B1%E4%BA%AC' })
    t.match(await client.getACL(`meta-${size}.csv`), { acl: 'public-read' })
    t.match(await tagging.getObjectTagging(`meta-${size}.csv`), { tag: { team: 'a=b+c' } })
    t.match(head.res.headers, {
      'x-oss-storage-class': 'IA',
      'content-type': 'text/x-test',
      'cache-control': 'no-store',
    })
  }
})

t.test('progress passes a checkpoint that ali-oss itself can finish', async t => {
  const { spool, oss, get } = await bench(t)
  const away = oss.inject({
    operation: 'CompleteMultipartUpload',
    do: 'answer',
    status: 403,
    code: 'AccessDenied',
    times: 'always',
  })
  const data = bytes(6 * PART + 5)
  const calls: [number, unknown][] = []
  const events: { phase: string; uploaded: number }[] = []
  const sink = spool.createWriteStream('handed-over', {
    start: 'sealed',
    progress: (fraction, checkpoint) => {
      calls.push([fraction, structuredClone(checkpoint)])
    },
  })
  sink.on('progress', event => events.push(event))
  await t.rejects(pipeline(streamOf(data), sink), { code: 'ERR_SPOOL_DENIED' })
  away.remove()
  t.equal(calls.length, 7)
  t.match(events.at(-1), { size: data.length, uploaded: data.length, parts: { done: 7, total: 7 } })
  const [fraction, checkpoint] = calls[3]!
  t.ok(fraction > 0.5 && fraction < 0.7)
  const client = new OSS(oss.clientOptions(BUCKET))
  // The typings require the checkpoint's `file` to be a File.
  await client.multipartUpload('handed-over', 'ignored', { checkpoint } as never)
  t.same(await get('handed-over'), data)
  const result = await spool.resume(sink.id)
  t.match(result, { sent: 0, skipped: data.length }, 'resume() detects that the upload is complete')
})

t.test('a sink saves its progress after the clock was set back', async t => {
  const { spool } = await bench(t)
  const sink = spool.createWriteStream('back', { start: 'sealed' })
  sink.on('error', () => {}) // `destroy()` ends the test
  const untilSaved = async (size: number): Promise<void> => {
    while ((await spool.uploads())[0]?.spooled !== size) await sleep(5)
  }
  sink.write(bytes(1000))
  await untilSaved(1000)
  const { now } = Date
  mock.method(Date, 'now', () => now() - 3_600_000)
  t.teardown(() => mock.restoreAll())
  sink.write(bytes(1000))
  await untilSaved(2000)
  sink.destroy()
  await t.rejects(sink.result)
})

t.test('a short stream writes one checkpoint and is not reported as sealed before it', async t => {
  const b = await bench(t)
  /** Opens a sink and records its reported phases and the number of times its checkpoint was replaced. */
  const observe = (id: string) => {
    const sink = b.spool.createWriteStream('k', { id })
    const seen = { phases: new Set<string>(), checkpoints: 0 }
    sink.on('progress', ({ phase }) => seen.phases.add(phase))
    mkdirSync(join(b.dir, id), { recursive: true })
    const watcher = watch(join(b.dir, id), (_event, name) => {
      if (name === 'checkpoint.json' && existsSync(join(b.dir, id, name))) seen.checkpoints++
    })
    sink.once('close', () => watcher.close())
    return { sink, seen }
  }
  // Time stands still, so that the stream counts as short even on a busy machine.
  mock.timers.enable({ apis: ['setTimeout'] })
  t.teardown(() => mock.timers.reset())
  const short = observe('short')
  await pipeline(streamOf(bytes(50_000)), short.sink)
  mock.timers.reset()
  t.same([...short.seen.phases], ['spooling', 'completing', 'published'])
  t.equal(short.seen.checkpoints, 1)

  const slow = observe('slow')
  slow.sink.write('early')
  while (slow.seen.checkpoints === 0) await new Promise(resolve => setTimeout(resolve, 5))
  t.match(
    await b.spool.uploads(),
    [{ id: 'slow', phase: 'spooling' }],
    'a slow stream gets a checkpoint early',
  )
  slow.sink.end()
  await slow.sink.result
  t.same([...slow.seen.phases], ['spooling', 'sealed', 'completing', 'published'])
})

for (const [name, listen] of Object.entries({
  'a drain listener':
    "sink.on('drain', () => { throw new Error('mine') }); sink.write(Buffer.alloc(2 ** 21))",
  'a write callback': "sink.write('a', () => { throw new Error('mine') })",
  'a finish listener': "sink.end('a').on('finish', () => { throw new Error('mine') })",
})) {
  t.test(`an exception in ${name} is uncaught, as in Node's own streams`, t => {
    const at = (path: string): string => JSON.stringify(urlOf(`dist/${path}`).href)
    const script = `
    import { Spool } from ${at('index.js')}
    import { startEmulator } from ${at('emulator/index.js')}
    process.on('uncaughtException', ({ message }, origin) => {
      console.log(origin, message)
      process.exit()
    })
    const oss = await startEmulator({ buckets: ['bucket'] })
    const sink = new Spool({ client: oss.clientOptions('bucket'), dir: 'spool' }).createWriteStream('key')
    ${listen}`
    const { stdout, stderr } = spawnSync(
      process.execPath,
      ['--input-type=module', '--eval', script],
      { cwd: t.testdir({}), encoding: 'utf8', env: { ...process.env, NODE_OPTIONS: '' } },
    )
    t.match(stdout, /^uncaughtException mine$/m, stderr)
    t.end()
  })
}

t.test('damage of the temp file while the source flows is ERR_SPOOL_CORRUPT', async t => {
  const b = await bench(t, { spool: { parallel: 1 } })
  const first = b.oss.inject({ operation: 'UploadPart', do: 'reset', at: 'start', times: 'always' })
  const sink = b.spool.createWriteStream('key', { id: 'id' })
  const failed = once(sink, 'error')
  await new Promise(resolve => sink.write(bytes(2 * PART), resolve))
  const name = (await readdir(join(b.dir, 'id'))).find(file => file.startsWith('spool-')) ?? ''
  const file = await open(join(b.dir, 'id', name), 'r+')
  await file.write('damage', 10)
  await file.close()
  first.remove()
  t.match(await failed, [{ code: 'ERR_SPOOL_CORRUPT', resumable: false, id: 'id' }])
  t.equal(await b.get('key'), undefined)
})

for (const method of ['createWriteStream', 'upload'] as const) {
  t.test(
    `${method}() quarantines a damaged record with a warning and uploads the new bytes`,
    async t => {
      const b = await bench(t)
      mkdirSync(join(b.dir, 'id'), { recursive: true, mode: 0o700 })
      await writeFile(join(b.dir, 'id', 'checkpoint.json'), '{"format":1,')
      await writeFile(join(b.dir, 'id', 'lock'), '')
      const data = bytes(1000)
      if (method === 'upload') await b.spool.upload('key', () => [data], { id: 'id' })
      else {
        const sink = b.spool.createWriteStream('key', { id: 'id' })
        const warned = once(sink, 'warning')
        await pipeline(streamOf(data), sink)
        t.match(await warned, [{ id: 'id', cause: { code: 'ERR_SPOOL_CORRUPT' } }])
      }
      t.same(await b.get('key'), data)
      t.match(b.warnings, [{ id: 'id', cause: { code: 'ERR_SPOOL_CORRUPT' } }])
      t.same(await readdir(b.dir), ['quarantine'])
    },
  )
}
