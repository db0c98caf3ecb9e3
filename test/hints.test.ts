/**
 * Every call that the hint of an error proposes works as it is, once the cause is fixed: it is extracted from
 * `error.hint` and evaluated with `spool` in scope.
 */
import { runInThisContext } from 'node:vm'
import t, { type Test } from 'tap'
import OSS from 'ali-oss'
import { SpoolError, type Spool } from '../src/index.js'
import { bench, BUCKET, bytes, QUICK, streamOf, type Bench } from './support/oss.js'

const PART = 102_400
const DATA = bytes(2 * PART)
const REFUSED = { do: 'answer', status: 403, code: 'AccessDenied', times: 'always' } as const
const PUBLISHING = ['CompleteMultipartUpload', 'PutObject'] as const
const source = (): ReturnType<typeof streamOf> => streamOf(DATA)

async function failure(step: Promise<unknown>): Promise<SpoolError> {
  try {
    await step
  } catch (error) {
    if (error instanceof SpoolError) return error
    throw error
  }
  throw new Error('it did not fail')
}

function callsIn({ hint }: SpoolError): string[] {
  return [...hint.matchAll(/spool\.\w+\([^)]*\)/g)].map(([call]) => call)
}

/** Evaluates the `n`th proposed call. */
async function evaluate(spool: Spool, error: SpoolError, n = 0): Promise<unknown> {
  const call = callsIn(error)[n]
  // The text of the hint is what is tested.
  const proposed = runInThisContext(`spool => ${call}`) as (spool: Spool) => Promise<unknown>
  return proposed(spool)
}

/** Seals `id` against an OSS that refuses it. Returns the error, after the refusal has ended. */
async function refused(b: Bench, id = 'k', options = {}): Promise<SpoolError> {
  const fault = b.oss.inject({ operation: PUBLISHING, ...REFUSED })
  const error = await failure(b.spool.upload('k', source, { id, ...options }))
  fault.remove()
  return error
}

async function resolves(t: Test, b: Bench, error: SpoolError, call: string, n = 0): Promise<void> {
  t.equal(callsIn(error)[n], call, error.hint)
  await t.resolves(evaluate(b.another(), error, n), call)
}

t.test('a refusal proposes resume(), which publishes', async t => {
  const b = await bench(t)
  const error = await refused(b)
  t.notMatch(error.hint, 'oss-spool')
  await resolves(t, b, error, "spool.resume('k')")
  t.ok((await b.get('k'))?.equals(DATA))
})

t.test('a missing bucket proposes resume(), which works once it exists', async t => {
  const b = await bench(t)
  const spool = b.another({ client: b.oss.clientOptions('missing') })
  const error = await failure(spool.upload('k', source, { id: 'k' }))
  await new OSS(b.oss.clientOptions(BUCKET)).putBucket('missing')
  t.equal(callsIn(error)[0], "spool.resume('k', { to: { bucket, key } })", 'for a wrong name')
  await resolves(t, b, error, "spool.resume('k')", 1)
})

t.test('an object that exists proposes another key, or to discard the bytes', async t => {
  for (const [n, call] of ["spool.resume('k', { to: { key } })", "spool.abort('k')"].entries()) {
    const b = await bench(t)
    await b.spool.upload('k', () => streamOf(bytes(5)), { id: 'first' })
    // On a slow machine, OSS could refuse the upload id before the seal.
    const options = { id: 'k', overwrite: false, start: 'sealed' } as const
    const error = await failure(b.spool.upload('k', source, options))
    t.equal(error.code, 'ERR_SPOOL_OBJECT_EXISTS')
    t.equal(callsIn(error)[n], call, error.hint)
    t.equal(callsIn(error).length, 2, 'no call replaces the object')
    await (n === 0 ? b.spool.resume('k', { to: { key: 'free' } }) : evaluate(b.spool, error, n))
    t.equal((await b.get('k'))?.length, 5, 'the object is unchanged')
    t.equal((await b.get('free'))?.length, n === 0 ? DATA.length : undefined)
    t.same(await b.spool.uploads(), [])
  }
})

t.test('an object that stops a stream before its end proposes only to discard it', async t => {
  const b = await bench(t)
  await b.spool.upload('k', () => streamOf(bytes(5)), { id: 'first' })
  const sink = b.spool.createWriteStream('k', { id: 'k', overwrite: false, partSize: PART })
  sink.on('error', () => {})
  sink.write(DATA)
  const error = await failure(sink.result)
  t.equal(error.code, 'ERR_SPOOL_OBJECT_EXISTS')
  t.equal(callsIn(error).length, 1)
  await resolves(t, b, error, "spool.abort('k')")
})

t.test('an object that exists before the source has ended proposes to upload again', async t => {
  const b = await bench(t, { spool: { partSize: PART } })
  await b.spool.upload('k', () => streamOf(bytes(5)), { id: 'first' })
  const sink = b.spool.createWriteStream('k', { id: 'k', overwrite: false })
  sink.on('error', () => {})
  sink.write(DATA) // without an end: OSS refuses the upload id
  const error = await failure(sink.result)
  t.match(error, { code: 'ERR_SPOOL_OBJECT_EXISTS', resumable: false })
  t.match(error.hint, /again from the source/)
  t.notMatch(error.hint, /kept|force/, 'nothing can be published')
  t.equal(callsIn(error).length, 1)
  await resolves(t, b, error, "spool.abort('k')")
})

t.test('an object that exists proposes no move of bytes that are only on OSS', async t => {
  const b = await bench(t, { spool: { partSize: PART } })
  const limits = { id: 'k', overwrite: false, maxSpoolBytes: 4 * PART, parallel: 1 }
  const sink = b.spool.createWriteStream('k', limits)
  sink.on('error', () => {})
  const data = bytes(10 * PART)
  await new Promise<void>((resolve, reject) => {
    sink.write(data, error => (error ? reject(error) : resolve()))
  })
  await new OSS(b.oss.clientOptions(BUCKET)).put('k', Buffer.from('mine'))
  sink.end()
  const error = await failure(sink.result)
  t.equal(error.code, 'ERR_SPOOL_OBJECT_EXISTS')
  t.match(error.hint, /force/)
  t.equal(callsIn(error).length, 1, error.hint)
  await resolves(t, b, error, "spool.abort('k')")
})

t.test('an unsealed upload proposes abort()', async t => {
  const b = await bench(t)
  const sink = b.spool.createWriteStream('k', { id: 'k' })
  sink.on('error', () => {})
  sink.write(DATA)
  sink.destroy()
  const cut = await failure(sink.result)
  t.same(callsIn(cut), [])
  await resolves(t, b, await failure(b.spool.resume('k')), "spool.abort('k')")
})

t.test('a committed upload proposes resume()', async t => {
  const b = await bench(t)
  const sink = b.spool.createWriteStream('k', { id: 'k' })
  sink.on('error', () => {})
  sink.write(DATA)
  await sink.commit()
  sink.destroy(new Error('cut'))
  await resolves(t, b, await failure(sink.result), "spool.resume('k')")
})

t.test('an id that does not exist proposes uploads()', async t => {
  const b = await bench(t)
  await resolves(t, b, await failure(b.spool.resume('nope')), 'spool.uploads()')
  await resolves(t, b, await failure(b.spool.abort('nope')), 'spool.uploads()')
})

t.test('an id in use proposes resume() and abort(), with a client for its endpoint', async t => {
  const b = await bench(t)
  await refused(b)
  const error = await failure(b.spool.upload('other', source, { id: 'k' }))
  t.equal(error.code, 'ERR_SPOOL_ID_IN_USE')
  await resolves(t, b, error, "spool.resume('k')")
  await refused(b)
  await resolves(t, b, error, "spool.abort('k')", 1)
  await refused(b)
  const elsewhere = await bench(t)
  const spool = b.another({ client: elsewhere.oss.clientOptions(BUCKET) })
  const other = await failure(spool.upload('k', source, { id: 'k' }))
  t.match(other.hint, `use a client for ${b.oss.endpoint} and call`)
  await resolves(t, b, other, "spool.resume('k')")
})

t.test('a late expectation that is not met proposes resume()', async t => {
  const b = await bench(t)
  await refused(b)
  const error = await failure(b.spool.upload('k', source, { id: 'k', expect: { bytes: 5 } }))
  t.equal(error.code, 'ERR_SPOOL_EXPECTATION')
  await resolves(t, b, error, "spool.resume('k')")
})

t.test('an unknown outcome proposes resume(), with `force` where OSS cannot be asked', async t => {
  for (const n of [0, 1]) {
    const b = await bench(t)
    const cut = b.oss.inject({ operation: PUBLISHING, do: 'reset', at: 'done', times: 'always' })
    const blind = b.oss.inject({ operation: ['HeadObject', 'ListParts'], ...REFUSED })
    const error = await failure(b.spool.upload('k', source, { id: 'k' }))
    cut.remove()
    if (n === 0) blind.remove()
    const call = n === 0 ? "spool.resume('k')" : "spool.resume('k', { force: true })"
    await resolves(t, b, error, call, n)
  }
})

t.test('a refused abort proposes to repeat it, or to give up on this disk only', async t => {
  for (const [n, call] of ["spool.abort('k')", "spool.abort('k', { remote: false })"].entries()) {
    const b = await bench(t)
    await refused(b)
    const fault = b.oss.inject({ operation: 'AbortMultipartUpload', ...REFUSED })
    const error = await failure(b.spool.abort('k'))
    t.match(error, { code: 'ERR_SPOOL_DENIED', resumable: true })
    const [entry] = await b.spool.prune({ olderThan: 0, sealed: true })
    t.match(entry, { kind: 'upload', id: 'k', error: { code: 'ERR_SPOOL_DENIED' } })
    t.equal(entry?.error?.hint, error.hint)
    if (n === 0) fault.remove()
    await resolves(t, b, error, call, n)
    t.same(await b.spool.uploads(), [])
  }
})

t.test('an aborted upload proposes resume() if it is sealed', async t => {
  const b = await bench(t, { spool: { retry: QUICK } })
  const controller = new AbortController()
  const held = b.oss.inject({ operation: PUBLISHING, do: 'delay', ms: 60_000 })
  const uploading = b.spool.upload('k', source, { id: 'k', signal: controller.signal })
  const failed = failure(uploading)
  await held.hit()
  controller.abort()
  const error = await failed
  t.notMatch(error.hint, /cause/, 'an abort has no cause to fix')
  await resolves(t, b, error, "spool.resume('k')")
})
