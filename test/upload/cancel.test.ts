/**
 * Cancellation. `signal` and `destroy()` end the requests of this upload within 100 ms in any state, touch no
 * other upload and keep sealed bytes. `abort()` removes the upload from disk and from OSS.
 */
import { subscribe } from 'node:diagnostics_channel'
import { readdir } from 'node:fs/promises'
import type { ClientRequest } from 'node:http'
import { Readable, type Writable } from 'node:stream'
import { finished, pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import OSS from 'ali-oss'
import t, { type Test } from 'tap'
import type { OperationName } from '../../src/emulator/index.js'
import { sampled } from '../support/long.js'
import { bench, BUCKET, bytes, streamOf, type Bench } from '../support/oss.js'

const PART = 102_400
const SOON = 100

/**
 * Cancels and resolves with the number of ms until `over` returns true. Timer ticks are counted instead of
 * measuring the time, because each tick takes longer on a busy machine.
 */
async function timed(cancel: () => void, over: () => boolean): Promise<number> {
  cancel()
  let ms = 0
  for (; !over() && ms < 10 * SOON; ms++) await sleep(1)
  return ms
}

interface Hanging {
  readonly operation: OperationName
  /** Size of the object, in bytes. */
  readonly size: number
  readonly before?: (b: Bench, id: string) => Promise<unknown>
  /** The source is still flowing when the request hangs. Default: false. */
  readonly flows?: boolean
}

const HANGING: readonly Hanging[] = [
  { operation: 'InitiateMultipartUpload', size: 3 * PART },
  { operation: 'InitiateMultipartUpload', size: 3 * PART, flows: true },
  { operation: 'UploadPart', size: 3 * PART },
  { operation: 'UploadPart', size: 3 * PART, flows: true },
  { operation: 'CompleteMultipartUpload', size: 3 * PART },
  { operation: 'PutObject', size: 1000 },
  {
    operation: 'HeadObject',
    size: 3 * PART,
    before: async (b, id) =>
      b.oss.inject({ operation: 'CompleteMultipartUpload', key: id, do: 'reset', at: 'received' }),
  },
]

async function isSealed({ spool }: Bench): Promise<void> {
  const phase = async () => (await spool.uploads()).find(({ id }) => id === 'id')?.phase
  while ((await phase()) === 'spooling') await sleep(1)
}

/** Returns a stream that never ends. */
function endless(data: Buffer): Readable {
  const source = new Readable({ read: () => {} })
  source.push(data)
  return source
}

/** Pending requests. */
const underWay = new Set<ClientRequest>()
/** Paths of all requests so far. */
const begun: string[] = []
subscribe('http.client.request.start', message => {
  const { request } = message as { request: ClientRequest } // Node's documentation
  underWay.add(request)
  begun.push(request.path)
  request.once('close', () => underWay.delete(request))
})

const openFor = (key: string): number =>
  [...underWay].filter(({ path }) => path.startsWith(`/${key}`)).length

/** Returns true if the upload has no pending request. */
const quiet = (): boolean => openFor('id') === 0

/** Starts another upload on the same spool that has a part in flight. */
async function neighbour(t: Test, b: Bench): Promise<{ goesOn(): Promise<void> }> {
  const hang = b.oss.inject({ operation: 'UploadPart', key: 'other', partNumber: 2, do: 'hang' })
  const data = bytes(4 * PART)
  const done = b.spool.upload('other', () => streamOf(data), { id: 'other' })
  await hang.hit()
  const arrived = () =>
    b.oss.requests.filter(
      r => r.operation === 'UploadPart' && r.key === 'other' && r.status === 200,
    )
  while (arrived().length < 3 || openFor('other') > 1) await sleep(1) // all other parts are done
  return {
    async goesOn() {
      t.equal(openFor('other'), 1, 'the request of the other upload is still pending')
      hang.remove()
      t.equal((await done).size, data.length)
      t.ok((await b.get('other'))?.equals(data))
      const parts = b.oss.requests.filter(r => r.operation === 'UploadPart' && r.key === 'other')
      t.equal(parts.length, 4, 'the other upload sends no part twice')
    },
  }
}

for (const { operation, size, before, flows = false } of sampled(t, HANGING, 3)) {
  const where = `${operation}${flows ? ' while the source flows' : ''}`
  for (const how of ['signal', 'destroy()'] as const) {
    t.test(`${how} cancels the upload while ${where} hangs`, async t => {
      const b = await bench(t)
      const other = await neighbour(t, b)
      const data = bytes(size)
      await before?.(b, 'id')
      const hang = b.oss.inject({ operation, key: 'id', do: 'hang', times: 'always' })
      const stop = new AbortController()
      const options = { id: 'id', ...(how === 'signal' ? { signal: stop.signal } : {}) }
      const sink = b.spool.createWriteStream('id', options)
      const source = flows ? endless(data) : streamOf(data)
      const done = pipeline(source, sink).catch((error: unknown) => error)
      await hang.hit()
      if (!flows) await isSealed(b)
      let requests = 0
      const cancel = (): void => {
        requests = begun.length
        if (how === 'signal') stop.abort()
        else sink.destroy()
      }
      const over = new Promise(resolve => sink.on('close', resolve))
      const took = await timed(cancel, quiet)
      t.ok(took < SOON, `${took} ms`)
      await over // its state is on disk
      const code = flows && how !== 'signal' ? 'ERR_STREAM_PREMATURE_CLOSE' : 'ERR_SPOOL_ABORTED'
      t.match(await done, { code }, 'pipeline() rejects')
      await t.rejects(sink.result, {
        code: flows && how !== 'signal' ? 'ERR_SPOOL_SOURCE_FAILED' : 'ERR_SPOOL_ABORTED',
        resumable: !flows,
      })
      t.equal(begun.length, requests, 'no further request is made')
      await other.goesOn()
      const [left] = (await b.spool.uploads()).filter(({ id }) => id === 'id')
      t.match(
        left,
        { phase: flows ? 'spooling' : /sealed|completing/ },
        'the state of the upload is kept',
      )
      if (flows) return
      hang.remove()
      t.match(await b.another().resume('id'), { size, sourceRead: false })
      t.ok((await b.get('id'))?.equals(data))
    })
  }
}

t.test('a signal cancels the upload during a pause between attempts', async t => {
  const places: [OperationName, number, boolean][] = [
    ['InitiateMultipartUpload', 3 * PART, false],
    ['UploadPart', 3 * PART, false],
    ['UploadPart', 3 * PART, true],
    ['CompleteMultipartUpload', 3 * PART, false],
    ['PutObject', 1000, false],
  ]
  for (const [operation, size, flows] of places) {
    const retry = { attempts: 9, minDelay: 60_000, maxDelay: 60_000 }
    const b = await bench(t, { spool: { retry } })
    const answer = { do: 'answer', status: 503, times: 'always' } as const
    b.oss.inject({ operation, ...answer })
    const stop = new AbortController()
    const options = { id: 'id', signal: stop.signal }
    const sink = b.spool.createWriteStream('id', options)
    const warned = new Promise(resolve => sink.once('warning', resolve))
    const done = pipeline(flows ? endless(bytes(size)) : streamOf(bytes(size)), sink)
    done.catch(() => undefined)
    await warned
    if (!flows) await isSealed(b)
    while (!quiet()) await sleep(1)
    const took = await timed(
      () => stop.abort(),
      () => sink.closed,
    )
    t.ok(took < SOON, `${operation}: ${took} ms, including writing the checkpoint`)
    await t.rejects(sink.result, { code: 'ERR_SPOOL_ABORTED', resumable: !flows }, operation)
  }
})

t.test('a signal cancels resume() and upload() of a sealed upload', async t => {
  for (const operation of ['ListParts', 'CompleteMultipartUpload'] as const) {
    for (const how of ['resume', 'upload'] as const) {
      const b = await bench(t)
      const data = await seal(t, b)
      const hang = b.oss.inject({ operation, do: 'hang' })
      const stop = new AbortController()
      const { signal } = stop
      const done = (
        how === 'resume'
          ? b.spool.resume('id', { signal })
          : b.spool.upload('id', () => streamOf(data), { id: 'id', signal })
      ).catch((error: unknown) => error)
      await hang.hit()
      const took = await timed(() => stop.abort(), quiet)
      t.ok(took < SOON, `${how}, ${operation}: ${took} ms`)
      t.match(await done, { code: 'ERR_SPOOL_ABORTED', resumable: true })
      hang.remove()
      t.match(await b.another().resume('id'), { size: data.length, sourceRead: false })
    }
  }
})

t.test('an upload can be cancelled while it checks the outcome of its predecessor', async t => {
  for (const how of ['signal', 'destroy()', 'upload()'] as const) {
    const b = await bench(t)
    // Complete is sent, but its outcome is unknown.
    b.oss.inject({ operation: 'CompleteMultipartUpload', do: 'reset', at: 'received' })
    const lost = b.oss.inject({ operation: 'HeadObject', do: 'reset', times: 'always' })
    const data = bytes(3 * PART)
    const first = b.spool.upload('id', () => streamOf(data), { id: 'id' })
    await t.rejects(first, { code: 'ERR_SPOOL_UPLOAD_FAILED', resumable: true })
    t.match(await b.spool.uploads(), [{ phase: 'completing' }])
    lost.remove()
    const hang = b.oss.inject({ operation: 'HeadObject', do: 'hang' })
    const stop = new AbortController()
    const options = { id: 'id', ...(how === 'destroy()' ? {} : { signal: stop.signal }) }
    let over: Promise<unknown>
    let cancel = (): void => stop.abort()
    if (how === 'upload()') {
      // `maxAge` forces a new stream.
      const again = b.spool.upload('id', () => streamOf(data), { ...options, maxAge: 1 })
      over = t.rejects(again, { code: 'ERR_SPOOL_ABORTED', resumable: true })
    } else {
      const sink = b.spool.createWriteStream('id', options)
      sink.on('error', () => undefined)
      over = new Promise(resolve => sink.on('close', resolve))
      if (how === 'destroy()') cancel = () => void sink.destroy()
    }
    await hang.hit()
    const took = await timed(cancel, quiet)
    t.ok(took < SOON, `${how}: ${took} ms`)
    await over
    hang.remove()
    t.match(await b.spool.uploads(), [{ phase: 'completing' }], 'the predecessor is unchanged')
    t.match(await b.another().resume('id'), { size: data.length, sourceRead: false })
  }
})

/** Leaves a sealed upload whose parts are on OSS. Resolves with its bytes. */
async function seal(t: Test, b: Bench): Promise<Buffer> {
  const data = bytes(3 * PART)
  const denied = { do: 'answer', status: 403, code: 'AccessDenied' } as const
  b.oss.inject({ operation: 'CompleteMultipartUpload', ...denied })
  const done = b.spool.upload('id', () => streamOf(data), { id: 'id' })
  await t.rejects(done, { code: 'ERR_SPOOL_DENIED', resumable: true })
  return data
}

t.test('abort() waits for parts in flight and repeats until the upload id is gone', async t => {
  const b = await bench(t)
  const reader = new OSS(b.oss.clientOptions(BUCKET))
  const hang = b.oss.inject({ operation: 'UploadPart', do: 'hang', at: 'received', times: 2 })
  const sink = b.spool.createWriteStream('id', { id: 'id' })
  sink.on('error', () => undefined)
  const done = pipeline(streamOf(bytes(3 * PART)), sink)
  done.catch(() => undefined)
  await hang.hit(2)
  await t.rejects(
    b.spool.abort('id'),
    { code: 'ERR_SPOOL_LOCKED' },
    'a running upload must be ended by its owner first',
  )
  sink.destroy()
  // A part in flight can survive an abort. OSS replies 204 and still has the part.
  b.oss.inject({ operation: 'AbortMultipartUpload', do: 'answer', status: 204, times: 2 })
  await b.spool.abort('id')
  t.equal(openFor('id'), 0, 'no request is pending')
  await t.rejects(done, { code: 'ERR_SPOOL_ABORTED', resumable: true }, 'pipeline() rejects')
  const aborts = b.oss.requests.filter(({ operation }) => operation === 'AbortMultipartUpload')
  t.same(
    aborts.map(({ status }) => status),
    [204, 204, 204, 404],
  )
  const last = b.oss.requests.findLastIndex(({ operation }) => operation === 'UploadPart')
  t.ok(b.oss.requests.indexOf(aborts[0]!) > last, 'no part is sent after the first abort') // there are four
  hang.remove()
  t.same((await reader.listUploads({ 'max-uploads': 9 })).uploads, [])
  t.same(await readdir(b.dir), [], 'the spool directory is empty')
  await t.rejects(b.spool.resume('id'), { code: 'ERR_SPOOL_NOT_FOUND' })
})

t.test('abort() removes a sealed upload and touches no other upload', async t => {
  const b = await bench(t)
  await seal(t, b)
  const other = await neighbour(t, b)
  await b.spool.abort('id')
  t.same(await readdir(b.dir), ['other'])
  await other.goesOn()
  t.equal(await b.get('id'), undefined)
})

t.test('destroy() between end() and finish is neither a success nor an uncaught error', async t => {
  const b = await bench(t)
  b.oss.inject({ operation: 'PutObject', do: 'hang', times: 'always' })
  const waiting: Record<string, (sink: Writable) => Promise<unknown>> = {
    'pipeline()': sink => pipeline(streamOf(bytes(10)), sink),
    'finished()': sink => (sink.end('x'), finished(sink)),
  }
  for (const [name, wait] of Object.entries(waiting)) {
    const sink = b.spool.createWriteStream(name)
    const done = t.rejects(wait(sink), { code: 'ERR_SPOOL_ABORTED', resumable: true }, name)
    while (b.oss.requests.filter(({ key }) => key === name).length === 0) await sleep(1)
    sink.destroy()
    await done
  }
  const sink = b.spool.createWriteStream('unheard')
  sink.end('x')
  while (b.oss.requests.filter(({ key }) => key === 'unheard').length === 0) await sleep(1)
  const over = new Promise(resolve => sink.on('close', resolve))
  sink.destroy()
  await over
  await t.rejects(sink.result, { code: 'ERR_SPOOL_ABORTED' })
  t.equal(sink.errored, null)
})
