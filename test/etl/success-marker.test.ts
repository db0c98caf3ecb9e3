/** `rotate({ successMarker })`: an empty object after the manifest, once per job. */
import { pipeline } from 'node:stream/promises'
import OSS from 'ali-oss'
import t from 'tap'
import { jsonl, rotate, type RotateOptions, type RotateStream } from '../../src/etl/index.js'
import { SpoolError } from '../../src/index.js'
import { bench, BUCKET, type Bench } from '../support/oss.js'

const MARKER = 'rows/_SUCCESS'
const MANIFEST = 'rows/_manifest-job.json'

function open(b: Bench, options: Partial<RotateOptions<number>> = {}): RotateStream<number> {
  const base = { job: 'job', key: 'rows/{job}-{seq}', format: jsonl, successMarker: true }
  return rotate<number>(b.another(), { ...base, ...options })
}

/** Returns the keys of the objects that OSS has stored, in order. */
const stored = ({ oss }: Bench): unknown[] =>
  oss.requests
    .filter(({ operation, status }) => operation === 'PutObject' && status === 200)
    .map(({ key }) => key)

t.test('the marker is empty and published after the manifest, once', async t => {
  const b = await bench(t)
  const upload = { headers: { 'Cache-Control': 'no-store' }, mime: 'application/x-own' }
  const options = { every: { records: 2 }, upload }
  await pipeline([1, 2, 3], open(b, options))
  t.same(stored(b).slice(-2), [MANIFEST, MARKER])
  t.same(await b.get(MARKER), Buffer.alloc(0))
  const { res } = await new OSS(b.oss.clientOptions(BUCKET)).head(MARKER)
  t.match(res.headers, { 'content-type': 'application/octet-stream' })
  t.equal(Object.hasOwn(res.headers, 'cache-control'), false)

  const before = b.oss.requests.length
  await pipeline([1, 2, 3], open(b, options))
  t.equal(b.oss.requests.length, before, 'a rerun sends nothing')
  t.same(await b.spool.uploads(), [])
})

t.test('a job without records publishes the marker', async t => {
  const b = await bench(t)
  await pipeline([], open(b))
  t.same(stored(b), [MANIFEST, MARKER])
})

t.test('a failed job publishes no marker, and its rerun does', async t => {
  const b = await bench(t)
  const fault = { do: 'answer', status: 403, code: 'AccessDenied', times: 'always' } as const
  for (const key of ['rows/job-0', MANIFEST, MARKER]) {
    const refused = b.oss.inject({ ...fault, key })
    await t.rejects(pipeline([1], open(b)), { code: 'ERR_SPOOL_DENIED' }, key)
    refused.remove()
    t.equal(await b.get(MARKER), undefined)
  }
  await pipeline([1], open(b))
  t.same(stored(b), ['rows/job-0', MANIFEST, MARKER])
})

t.test('a rerun with other records publishes no marker', async t => {
  const b = await bench(t)
  await pipeline([1], open(b, { successMarker: false }))
  await t.rejects(pipeline([2], open(b)), { code: 'ERR_SPOOL_EXPECTATION' })
  t.equal(await b.get(MARKER), undefined)
  await pipeline([1], open(b))
  t.equal((await b.get(MARKER))?.length, 0, 'it can be added to a finished job')
})

t.test('the marker of another job is replaced, unless its key has {job}', async t => {
  const b = await bench(t)
  await pipeline([1], open(b))
  await pipeline([2], open(b, { job: 'next' }))
  t.equal(stored(b).filter(key => key === MARKER).length, 2)
  await pipeline([3], open(b, { job: 'third', successMarker: 'done/{job}' }))
  t.equal((await b.get('done/third'))?.length, 0)
  t.equal(stored(b).filter(key => key === MARKER).length, 2)
})

t.test('a marker that another job wrote meanwhile is replaced as the hint says', async t => {
  const b = await bench(t)
  const lost = b.oss.inject({ do: 'reset', at: 'start', key: MARKER, times: 'always' })
  await t.rejects(pipeline([1], open(b)), { code: 'ERR_SPOOL_UPLOAD_FAILED' })
  lost.remove()
  await pipeline([2], open(b, { job: 'next' }))
  const error = await pipeline([1], open(b)).catch((failure: unknown) => failure)
  if (!(error instanceof SpoolError)) throw error
  t.equal(error.code, 'ERR_SPOOL_OBJECT_EXISTS')
  t.match(error.hint, `spool.resume('${error.id}', { force: true })`)
  await b.spool.resume(error.id, { force: true })
  await pipeline([1], open(b))
  t.same(await b.spool.uploads(), [])
})

t.test('no object of records has the key of the marker', async t => {
  const b = await bench(t)
  const options = { key: 'rows/{partition}', partitionBy: () => '_SUCCESS' }
  await t.rejects(pipeline([1], open(b, options)), { code: 'ERR_SPOOL_OBJECT_EXISTS' })
  t.same(stored(b), [])
})

t.test('invalid markers are refused', async t => {
  const b = await bench(t)
  const wrong: readonly [string, object][] = [
    ['ERR_INVALID_ARG_TYPE', { successMarker: 1 }],
    ['ERR_INVALID_ARG_TYPE', { successMarker: null }],
    ['ERR_INVALID_ARG_VALUE', { successMarker: '{seq}' }],
    ['ERR_INVALID_ARG_VALUE', { successMarker: MANIFEST }],
    ['ERR_SPOOL_INVALID_KEY', { successMarker: '' }],
    ['ERR_INVALID_ARG_VALUE', { commit: { ms: 10 } }],
  ]
  for (const [code, options] of wrong) {
    t.throws(() => open(b, options), { code }, JSON.stringify(options))
  }
  open(b, { commit: { ms: 10 }, successMarker: false }).destroy()
})
