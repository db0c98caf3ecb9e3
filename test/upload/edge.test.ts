/**
 * Edge cases of input and timing, found by comparing the code with the rules. Tests name the rule they
 * verify.
 */
import { getEventListeners } from 'node:events'
import { createReadStream } from 'node:fs'
import { readdir, rm, truncate, utimes, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { PassThrough, Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import OSS from 'ali-oss'
import t from 'tap'
import { SpoolError } from '../../src/index.js'
import { tinyDisk } from '../support/tiny-disk.js'
import { bench, BUCKET, bytes, streamOf, type Bench } from '../support/oss.js'
import { long } from '../support/long.js'

const PART = 102_400

const idsOnOss = async ({ oss }: Bench): Promise<string[]> => {
  const client = new OSS(oss.clientOptions(BUCKET))
  const { uploads } = await client.listUploads({ 'max-uploads': 100 }, {})
  return uploads.map(({ uploadId }) => uploadId)
}

const unavailable = { do: 'answer', status: 503, code: 'ServiceUnavailable' } as const

t.test(
  'a short stream is published with PutObject although its early Initiate keeps failing (rule 3)',
  async t => {
    const b = await bench(t)
    const failing = b.oss.inject({
      operation: 'InitiateMultipartUpload',
      ...unavailable,
      times: 'always',
    })
    const sink = b.spool.createWriteStream('short', { retry: { minDelay: 500, maxDelay: 1000 } })
    sink.write('some ')
    await failing.hit()
    await sleep(20)
    sink.end('bytes')
    t.match(await sink.result, { size: 10, parts: 1 })
    t.equal((await b.get('short'))?.toString(), 'some bytes')
    t.same(await readdir(b.dir), [])
  },
)

t.test(
  'a sink survives repeated loss of its upload id while the source flows (rule 3)',
  async t => {
    const b = await bench(t)
    const vanishing = b.oss.inject({ operation: 'UploadPart', do: 'drop-upload', times: 'always' })
    const sink = b.spool.createWriteStream('vanishing')
    const data = bytes(3 * PART)
    sink.write(data.subarray(0, 2 * PART))
    await vanishing.hit(12)
    t.equal(sink.destroyed, false)
    vanishing.remove()
    sink.end(data.subarray(2 * PART))
    await sink.result
    t.same(await b.get('vanishing'), data)
  },
)

t.test('the error of a sink destroyed while it is being sealed matches its state', async t => {
  for (let ticks = 0; ticks < 60; ticks++) {
    const b = { ...(await shared(t)) }
    const id = `seal-${ticks}`
    const sink = b.spool.createWriteStream(id, { id })
    sink.on('error', () => {})
    const data = bytes(1000)
    await new Promise(resolve => sink.write(data, resolve))
    sink.end()
    for (let i = 0; i < ticks; i++) await new Promise(setImmediate)
    sink.destroy()
    const error: unknown = await sink.result.then(
      () => undefined,
      (e: unknown) => e,
    )
    const [status] = (await b.spool.uploads()).filter(upload => upload.id === id)
    if (error === undefined) {
      t.same(await b.get(id), data)
      continue
    }
    if (!(error instanceof SpoolError)) throw error
    t.equal(error.code, 'ERR_SPOOL_ABORTED')
    t.equal(error.resumable, status?.phase !== 'spooling', `${ticks}: ${status?.phase}`)
    t.equal(status?.owner, undefined)
    t.equal(status?.error?.code, 'ERR_SPOOL_ABORTED', `${ticks}: the record has the error`)
    if (error.resumable) {
      await b.another().resume(id)
      t.same(await b.get(id), data)
    } else await b.another().abort(id)
  }
})

for (const { name, size } of [
  { name: 'CompleteMultipartUpload', size: 3 * PART },
  { name: 'PutObject', size: 1000 },
] as const) {
  t.test(`${name}: repeated resume() never overwrites someone else's object (rule 8)`, async t => {
    const b = await bench(t)
    const held = b.oss.inject({ operation: name, do: 'hang', at: 'start' })
    const data = bytes(size)
    const sink = b.spool.createWriteStream('theirs')
    // Wait until the sink has an early upload id, which is no evidence for the outcome of PutObject.
    sink.write(data.subarray(0, 10))
    await sleep(400)
    sink.on('error', () => {})
    sink.end(data.subarray(10))
    await held.hit()
    sink.destroy()
    await sink.result.catch(() => undefined)
    held.remove()
    const client = new OSS(b.oss.clientOptions(BUCKET))
    const theirs = bytes(77)
    await client.put('theirs', theirs)
    if (name === 'CompleteMultipartUpload')
      for (const uploadId of await idsOnOss(b))
        await client.abortMultipartUpload('theirs', uploadId)
    for (let i = 0; i < 3; i++) {
      await t.rejects(b.another().resume(sink.id), { code: 'ERR_SPOOL_OBJECT_EXISTS' })
      t.same(await b.get('theirs'), theirs)
    }
    await t.rejects(
      b.spool.upload('theirs', () => [] as never),
      { code: 'ERR_SPOOL_OBJECT_EXISTS' },
      'upload() applies the same rule',
    )
    t.same(await b.get('theirs'), theirs)
    await b.another().resume(sink.id, { force: true })
    t.same(await b.get('theirs'), data)
    t.same(await readdir(b.dir), [])
    t.same(await idsOnOss(b), [])
  })

  t.test(`${name}: the first resume() after a crash publishes with force`, async t => {
    const b = await bench(t)
    const held = b.oss.inject({ operation: name, do: 'hang', at: 'start' })
    const data = bytes(size)
    const sink = b.spool.createWriteStream('forced')
    sink.on('error', () => {})
    sink.end(data)
    await held.hit()
    sink.destroy()
    await sink.result.catch(() => undefined)
    held.remove()
    const client = new OSS(b.oss.clientOptions(BUCKET))
    await client.put('forced', bytes(77))
    for (const uploadId of await idsOnOss(b)) await client.abortMultipartUpload('forced', uploadId)
    await b.another().resume(sink.id, { force: true })
    t.same(await b.get('forced'), data)
  })

  t.test(
    `${name}: resume() with force finishes a published upload without its temp file`,
    async t => {
      const b = await bench(t)
      b.oss.inject({ operation: name, do: 'reset', at: 'done' })
      b.oss.inject({ operation: 'HeadObject', do: 'answer', status: 403, code: 'AccessDenied' })
      const data = bytes(size)
      const sink = b.spool.createWriteStream('left')
      sink.on('error', () => {})
      sink.end(data)
      await sink.result.catch(() => undefined)
      // The state left by a process that was killed after removing the temp file (rule 6).
      for (const file of await readdir(join(b.dir, sink.id))) {
        if (file.startsWith('spool-')) await rm(join(b.dir, sink.id, file))
      }
      t.match(await b.another().resume(sink.id, { force: true }), { size })
      t.same(await b.get('left'), data)
      t.same(await readdir(b.dir), [])
    },
  )
}

t.test(
  'an expectation of a sealed upload with a damaged temp file quarantines it (rule 10)',
  async t => {
    for (const damage of [rm, (path: string) => truncate(path, 500)]) {
      const b = await bench(t)
      b.oss.inject({ ...unavailable, times: 'always' })
      const sink = b.spool.createWriteStream('damaged')
      sink.on('error', () => {})
      sink.end(bytes(1000))
      await sink.result.catch(() => undefined)
      const directory = join(b.dir, sink.id)
      const name = (await readdir(directory)).find(file => file.startsWith('spool-'))!
      await damage(join(directory, name))
      await t.rejects(
        b.spool.upload('damaged', () => [] as never, { expect: { md5: '0'.repeat(32) } }),
        { code: 'ERR_SPOOL_CORRUPT' },
      )
      t.same(await readdir(b.dir), ['quarantine'])
    }
  },
)

t.test('bytes that changed on the disk are reported as such by the only attempt', async t => {
  const sealedAt = new Date(1_000_000)
  for (const isInPlace of [false, true]) {
    const b = await bench(t, { spool: { retry: { attempts: 1 } } })
    const source = join(b.dir, '..', `${basename(b.dir)}-file`)
    const data = bytes(3 * PART)
    await writeFile(source, data)
    await utimes(source, sealedAt, sealedAt)
    t.teardown(() => rm(source))
    const fault = b.oss.inject({ ...unavailable, times: 'always' })
    const options = isInPlace ? { id: 'id', inPlace: source } : { id: 'id' }
    await t.rejects(b.spool.upload('key', () => createReadStream(source), options))
    fault.remove()
    const name = (await readdir(join(b.dir, 'id'))).find(file => file.startsWith('spool-')) ?? ''
    await writeFile(join(b.dir, 'id', name), data.toReversed(), { flag: 'r+' })
    await utimes(source, sealedAt, sealedAt)
    const code = isInPlace ? 'ERR_SPOOL_SOURCE_FAILED' : 'ERR_SPOOL_CORRUPT'
    await t.rejects(b.spool.resume('id'), { code, resumable: false })
    t.equal(await b.get('key'), undefined)
  }
})

t.test('progress is finally called with 1, null and the reply, as in ali-oss', async t => {
  const b = await bench(t)
  for (const size of [10, 3 * PART]) {
    const calls: [number, unknown, unknown][] = []
    const sink = b.spool.createWriteStream('progress', {
      progress: (fraction, checkpoint, reply) => calls.push([fraction, checkpoint, reply]),
    })
    await pipeline(streamOf(bytes(size)), sink)
    t.match(calls.at(-1), [1, null, { status: 200 }], `${size} bytes`)
  }
})

t.test('a progress function that throws or rejects causes only a warning', async t => {
  const b = await bench(t)
  for (const progress of [
    () => {
      throw new Error('broken')
    },
    () => {
      throw Object.create(null) // no text can be made of it by String()
    },
    () => Promise.reject(new Error('broken')),
  ]) {
    const data = bytes(3 * PART)
    await pipeline(streamOf(data), b.spool.createWriteStream('broken', { progress }))
    t.same(await b.get('broken'), data)
    t.match(b.warnings.at(-1), { message: /progress function failed/ })
    b.warnings.length = 0
  }
})

t.test('an already aborted signal rejects without calling the source or OSS', async t => {
  const b = await bench(t)
  const signal = AbortSignal.abort()
  await t.rejects(
    b.spool.upload('before', () => t.fail('called') as never, { signal }),
    { code: 'ERR_SPOOL_ABORTED', resumable: false },
  )
  const sink = b.spool.createWriteStream('before-2', { signal })
  await t.rejects(pipeline(streamOf(bytes(10)), sink), { code: 'ERR_SPOOL_ABORTED' })
  await t.rejects(sink.result, { code: 'ERR_SPOOL_ABORTED', resumable: false })
  t.equal(b.oss.requests.length, 0)
})

t.test('a signal aborts upload() while it waits for its source', async t => {
  const b = await bench(t)
  const stop = new AbortController()
  const upload = b.spool.upload('waiting', () => new Promise<Readable>(() => {}), {
    signal: stop.signal,
  })
  setTimeout(() => stop.abort(), 20)
  await t.rejects(upload, { code: 'ERR_SPOOL_ABORTED', resumable: false })
})

void long(t, 'successful and failed uploads release descriptors, timers and listeners', async t => {
  const b = await bench(t)
  const stop = new AbortController()
  const open = async () => (await readdir('/proc/self/fd')).length
  const run = async (i: number): Promise<void> => {
    const key = `key-${i}`
    const data = bytes(i % 2 === 0 ? 100 : 2 * PART)
    const { signal } = stop
    const sink = b.spool.createWriteStream(key, { signal })
    if (i % 5 === 1) sink.destroy()
    if (i % 5 === 2) setTimeout(() => sink.destroy(new Error('cut')), i % 7)
    const source = i % 5 === 3 ? Readable.from([data, 5]) : streamOf(data)
    await pipeline(source, sink).catch(() => undefined)
    await sink.result.catch(() => undefined)
    if (i % 5 === 4)
      await b.spool
        .upload(key, () => streamOf(data), { expect: { bytes: 1 }, signal })
        .catch(() => {})
  }
  for (let i = 0; i < 20; i++) await run(i)
  await b.spool.uploads()
  const before = await open()
  for (let i = 20; i < 140; i++) await run(i)
  await b.spool.uploads()
  const after = await open()
  t.ok(after <= before + 4, `${before} descriptors before, ${after} after`)
  t.equal(getEventListeners(stop.signal, 'abort').length, 0)
})

t.test('replay: offset does not apply to a new sink, which starts at 0', async t => {
  const b = await bench(t, { spool: { replay: 'offset' } })
  const data = bytes(4 * PART + 7)
  const first = b.spool.createWriteStream('from-start')
  await new Promise(resolve => first.write(data.subarray(0, 2 * PART + 5), resolve))
  first.destroy()
  await first.result.catch(() => undefined)
  await pipeline(streamOf(data), b.spool.createWriteStream('from-start'))
  t.ok((await b.get('from-start'))?.equals(data))
  t.same(await readdir(b.dir), [])
})

void long(t, 'a sink on a full disk leaves no descriptor open', async t => {
  const disk = tinyDisk(t)
  if (disk === undefined) return
  const b = await bench(t, { spool: { dir: join(disk.path, 'spool') } })
  disk.fill()
  const open = async () => (await readdir('/proc/self/fd')).length
  const before = await open()
  for (let i = 0; i < 20; i++) {
    const sink = b.spool.createWriteStream(`full-${i}`)
    sink.on('error', () => {})
    await t.rejects(sink.result, { code: 'ERR_SPOOL_FULL', resumable: false })
  }
  t.ok((await open()) <= before + 2)
})

t.test(
  'a sink accepts no writes, empty writes, one huge chunk and thousands of tiny ones',
  async t => {
    const b = await bench(t, { spool: { partSize: 8 * 1024 * 1024 } })
    const empty = b.spool.createWriteStream('empty')
    empty.end()
    t.match(await empty.result, { size: 0, parts: 1, sourceRead: false })
    t.equal((await b.get('empty'))?.length, 0)
    const nothing = b.spool.createWriteStream('nothing')
    for (let i = 0; i < 3000; i++) nothing.write(i % 2 ? '' : Buffer.alloc(0))
    nothing.end()
    t.match(await nothing.result, { size: 0 })
    const huge = bytes(40 * 1024 * 1024)
    const sink = b.spool.createWriteStream('huge')
    sink.end(huge)
    await sink.result
    t.ok((await b.get('huge'))?.equals(huge))
    const tiny = bytes(50_000)
    const many = b.spool.createWriteStream('tiny')
    for (const byte of tiny) many.write(Buffer.from([byte]))
    many.end()
    await many.result
    t.ok((await b.get('tiny'))?.equals(tiny))
  },
)

t.test('upload() rejects a source of objects and publishes nothing', async t => {
  const b = await bench(t)
  await t.rejects(
    b.spool.upload('objects', async function* () {
      yield { a: 1 } as never
    }),
    { code: 'ERR_SPOOL_SOURCE_FAILED', resumable: false },
  )
  t.equal(b.count('PutObject'), 0)
})

t.test("a sink emits 'finish' once before 'close', and not after a failure", async t => {
  const b = await bench(t)
  const events: string[] = []
  const sink = b.spool.createWriteStream('events')
  for (const name of ['finish', 'close', 'error']) sink.on(name, () => events.push(name))
  await pipeline(streamOf(bytes(10)), sink)
  await sink.result
  await sleep(5)
  t.same(events, ['finish', 'close'])
  events.length = 0
  const broken = b.spool.createWriteStream('broken')
  for (const name of ['finish', 'close', 'error']) broken.on(name, () => events.push(name))
  const source = new PassThrough()
  const error = new Error('mine')
  setTimeout(() => source.destroy(error), 10)
  t.equal(
    await pipeline(source, broken).catch((e: unknown) => e),
    error,
    'pipeline() rejects with the same error object',
  )
  await broken.result.catch(() => undefined)
  await sleep(5)
  t.same(events, ['error', 'close'])
})

t.test('many parts in flight cause no MaxListenersExceededWarning', async t => {
  const b = await bench(t)
  const warnings: Error[] = []
  const listen = (warning: Error): void => void warnings.push(warning)
  process.on('warning', listen)
  t.teardown(() => process.off('warning', listen))
  const failing = b.oss.inject({ operation: 'UploadPart', ...unavailable, times: 30 })
  const { signal } = new AbortController()
  await pipeline(
    streamOf(bytes(40 * PART)),
    b.spool.createWriteStream('wide', { parallel: 40, signal, retry: { attempts: 30 } }),
  )
  t.equal(failing.hits, 30)
  await sleep(10)
  t.same(warnings, [])
})

let benchOfSeals: Promise<Bench> | undefined
function shared(t: Parameters<typeof bench>[0]): Promise<Bench> {
  return (benchOfSeals ??= bench(t))
}
