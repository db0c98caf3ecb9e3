/**
 * Cancelling: `signal` and `destroy()` end this upload's requests within 100 ms, whatever they wait
 * for, touch no other upload and keep what was sealed; `abort()` ends it here and on OSS.
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
import { bench, BUCKET, bytes, streamOf, type Bench } from '../support/oss.js'

const PART = 102_400
const SOON = 100

/**
 * Cancels, and says how many ms it took until `over`. They are counted, not measured: a busy machine
 * makes each of them longer, and is no fault of ours.
 */
async function timed(cancel: () => void, over: () => boolean): Promise<number> {
  cancel()
  let ms = 0
  for (; !over() && ms < 10 * SOON; ms++) await sleep(1)
  return ms
}

interface Hanging {
  readonly operation: OperationName
  /** Bytes of the object. */
  readonly size: number
  readonly before?: (b: Bench, id: string) => Promise<unknown>
  /** Is the source still flowing when it hangs? */
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

/** A stream that never ends by itself. */
function endless(data: Buffer): Readable {
  const source = new Readable({ read: () => {} })
  source.push(data)
  return source
}

/** Requests that are under way. */
const underWay = new Set<ClientRequest>()
/** Paths of all that ever were. */
const begun: string[] = []
subscribe('http.client.request.start', message => {
  const { request } = message as { request: ClientRequest } // Node's documentation
  underWay.add(request)
  begun.push(request.path)
  request.once('close', () => underWay.delete(request))
})

const openFor = (key: string): number =>
  [...underWay].filter(({ path }) => path.startsWith(`/${key}`)).length

/** No request of the upload is under way. */
const quiet = (): boolean => openFor('id') === 0

/** Another upload of the same spool, with a part on its way. */
async function neighbour(t: Test, b: Bench): Promise<{ goesOn(): Promise<void> }> {
  const hang = b.oss.inject({ operation: 'UploadPart', key: 'other', partNumber: 2, do: 'hang' })
  const data = bytes(4 * PART)
  const done = b.spool.upload('other', () => streamOf(data), { id: 'other' })
  await hang.hit()
  const arrived = () =>
    b.oss.requests.filter(
      r => r.operation === 'UploadPart' && r.key === 'other' && r.status === 200,
    )
  while (arrived().length < 3 || openFor('other') > 1) await sleep(1) // the others are through
  return {
    async goesOn() {
      t.equal(openFor('other'), 1, 'the other one’s request is not touched')
      hang.remove()
      t.equal((await done).size, data.length)
      t.ok((await b.get('other'))?.equals(data))
      const parts = b.oss.requests.filter(r => r.operation === 'UploadPart' && r.key === 'other')
      t.equal(parts.length, 4, 'and sends nothing twice')
    },
  }
}

for (const { operation, size, before, flows = false } of HANGING) {
  const where = `${operation}${flows ? ' while the source flows' : ''}`
  for (const how of ['signal', 'destroy()'] as const) {
    t.test(`${how} while ${where} hangs`, async t => {
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
      await over // its state is written down
      const told = flows && how !== 'signal' ? 'ERR_STREAM_PREMATURE_CLOSE' : 'ERR_SPOOL_ABORTED'
      t.match(await done, { code: told }, 'not taken for done')
      await t.rejects(sink.result, {
        code: flows && how !== 'signal' ? 'ERR_SPOOL_SOURCE_FAILED' : 'ERR_SPOOL_ABORTED',
        resumable: !flows,
      })
      t.equal(begun.length, requests, 'nothing is asked any more')
      await other.goesOn()
      const [left] = (await b.spool.uploads()).filter(({ id }) => id === 'id')
      t.match(left, { phase: flows ? 'spooling' : /sealed|completing/ }, 'its state is kept')
      if (flows) return
      hang.remove()
      t.match(await b.another().resume('id'), { size, sourceRead: false })
      t.ok((await b.get('id'))?.equals(data))
    })
  }
}

t.test('in a pause between attempts', async t => {
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
    t.ok(took < SOON, `${operation}: ${took} ms, with what is written down`)
    await t.rejects(sink.result, { code: 'ERR_SPOOL_ABORTED', resumable: !flows }, operation)
  }
})

t.test('resume() and upload() of what is sealed', async t => {
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

t.test('while it is asked what became of the upload before it', async t => {
  for (const how of ['signal', 'destroy()', 'upload()'] as const) {
    const b = await bench(t)
    // Complete is sent, and nobody knows what came of it.
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
      // A new stream, since what is completing is too old.
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
    t.match(await b.spool.uploads(), [{ phase: 'completing' }], 'the one before is as it was')
    t.match(await b.another().resume('id'), { size: data.length, sourceRead: false })
  }
})

/** An upload that is sealed and whose parts are on OSS. */
async function seal(t: Test, b: Bench): Promise<Buffer> {
  const data = bytes(3 * PART)
  const denied = { do: 'answer', status: 403, code: 'AccessDenied' } as const
  b.oss.inject({ operation: 'CompleteMultipartUpload', ...denied })
  const done = b.spool.upload('id', () => streamOf(data), { id: 'id' })
  await t.rejects(done, { code: 'ERR_SPOOL_DENIED', resumable: true })
  return data
}

t.test('abort(): after the parts in flight have ended, until OSS knows it no more', async t => {
  const b = await bench(t)
  const reader = new OSS(b.oss.clientOptions(BUCKET))
  const hang = b.oss.inject({ operation: 'UploadPart', do: 'hang', at: 'received', times: 2 })
  const sink = b.spool.createWriteStream('id', { id: 'id' })
  sink.on('error', () => undefined)
  const done = pipeline(streamOf(bytes(3 * PART)), sink)
  done.catch(() => undefined)
  await hang.hit(2)
  await t.rejects(b.spool.abort('id'), { code: 'ERR_SPOOL_LOCKED' }, 'its owner ends it first')
  sink.destroy()
  // A part that was in flight survives an abort: OSS says 204 and has it still.
  b.oss.inject({ operation: 'AbortMultipartUpload', do: 'answer', status: 204, times: 2 })
  await b.spool.abort('id')
  t.equal(openFor('id'), 0, 'nothing is under way')
  await t.rejects(done, { code: 'ERR_SPOOL_ABORTED', resumable: true }, 'not taken for done')
  const aborts = b.oss.requests.filter(({ operation }) => operation === 'AbortMultipartUpload')
  t.same(
    aborts.map(({ status }) => status),
    [204, 204, 204, 404],
  )
  const last = b.oss.requests.findLastIndex(({ operation }) => operation === 'UploadPart')
  t.ok(b.oss.requests.indexOf(aborts[0]!) > last, 'no part is sent after that') // there are four
  hang.remove()
  t.same((await reader.listUploads({ 'max-uploads': 9 })).uploads, [])
  t.same(await readdir(b.dir), [], 'nothing is left here')
  await t.rejects(b.spool.resume('id'), { code: 'ERR_SPOOL_NOT_FOUND' })
})

t.test('a sealed upload is aborted, too; others of the spool are not touched', async t => {
  const b = await bench(t)
  await seal(t, b)
  const other = await neighbour(t, b)
  await b.spool.abort('id')
  t.same(await readdir(b.dir), ['other'])
  await other.goesOn()
  t.equal(await b.get('id'), undefined)
})

t.test('destroy() between end and finish is nobody’s success, and no uncaught error', async t => {
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
