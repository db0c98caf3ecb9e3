/**
 * Records that name an endpoint for which the client is not configured: those who write them must not get a signed
 * request, whose key or token could be used again (rule 11).
 */
import t, { type Test } from 'tap'
import { startEmulator, type Emulator } from '../../src/emulator/index.js'
import { Spool, type SpoolError } from '../../src/index.js'
import { isServiceEndpoint } from '../../src/oss/client-options.js'
import { connect } from '../../src/oss/connection.js'
import { environment } from '../support/command-line.js'
import { run } from '../support/in-process.js'
import { bench, BUCKET, bytes, failingAfter, streamOf, type Bench } from '../support/oss.js'

const DATA = bytes(250_000)
const DENIED = { do: 'answer', status: 403, code: 'AccessDenied', times: 'always' } as const

/** Another endpoint with the same bucket, which logs the requests that reach it. */
async function elsewhere(t: Test): Promise<Emulator> {
  const oss = await startEmulator({ buckets: [BUCKET] })
  t.teardown(() => oss.close())
  return oss
}

/** A spool for `oss` on the directory of `b`. */
function spoolFor(b: Bench, oss: Emulator): Spool {
  return b.another({ client: oss.clientOptions(BUCKET) })
}

/** Leaves an upload that OSS has parts of, recorded for the endpoint of `b`. */
async function leave(b: Bench, state: 'sealed' | 'unsealed'): Promise<string> {
  const id = state
  if (state === 'sealed') {
    const fault = b.oss.inject({ operation: 'CompleteMultipartUpload', ...DENIED })
    await t.rejects(
      b.spool.upload('key', () => streamOf(DATA), { id }),
      { code: 'ERR_SPOOL_DENIED' },
    )
    fault.remove()
  } else {
    const until = (): boolean => b.count('UploadPart') >= 2
    const source = failingAfter(DATA, new Error('cut'), until)
    await t.rejects(b.spool.upload('key', () => source, { id, start: 'eager' }))
  }
  return id
}

const CALLS: Readonly<Record<string, (spool: Spool, id: string) => Promise<unknown>>> = {
  'resume()': (spool, id) => spool.resume(id),
  'resume() with force': (spool, id) => spool.resume(id, { force: true }),
  'resume() of another key': (spool, id) => spool.resume(id, { to: { key: 'new' } }),
  'abort()': (spool, id) => spool.abort(id),
}

for (const [name, call] of Object.entries(CALLS)) {
  t.test(`${name} sends nothing to an endpoint of a record that is not configured`, async t => {
    const b = await bench(t)
    const spool = spoolFor(b, await elsewhere(t))
    const id = await leave(b, 'sealed')
    const before = b.oss.requests.length
    const error = await call(spool, id).then(
      () => t.fail('it must fail'),
      (reason: SpoolError) => reason, // asserted below
    )
    t.match(error, { code: 'ERR_SPOOL_ENDPOINT', id, resumable: true })
    t.equal(b.oss.requests.length, before, 'no request')
    t.match(await b.another().resume(id), { size: DATA.length }, 'nothing was changed')
    t.same(await b.get('key'), DATA)
  })
}

for (const state of ['sealed', 'unsealed'] as const) {
  t.test(`prune() leaves and names ${state} uploads of other endpoints`, async t => {
    const b = await bench(t)
    const spool = spoolFor(b, await elsewhere(t))
    const id = await leave(b, state)
    const before = b.oss.requests.length
    const seen = b.warnings.length
    t.same(await spool.prune({ olderThan: 0, sealed: true, orphans: true }), [])
    t.match(b.warnings.slice(seen), [{ id, cause: { code: 'ERR_SPOOL_ENDPOINT' } }])
    t.equal(b.oss.requests.length, before, 'no request')
    t.match(await spool.uploads({ all: true }), [{ id }])
    t.match(await b.another().prune({ olderThan: 0, sealed: true }), [{ id, error: undefined }])
  })
}

t.test(
  'what a published upload left at another endpoint is kept, and no request is sent',
  async t => {
    const b = await bench(t)
    const spool = spoolFor(b, await elsewhere(t))
    // A second stream supersedes the upload id of the first, which cannot be aborted.
    const id = await leave(b, 'unsealed')
    b.oss.inject({ operation: 'AbortMultipartUpload', ...DENIED })
    await b.spool.upload('key', () => streamOf(bytes(1000)), { id, once: true })
    const before = b.oss.requests.length
    t.match(await spool.resume(id), { receipt: true })
    t.match(await spool.prune({ olderThan: 0 }), [
      { id, kind: 'receipt', error: { code: 'ERR_SPOOL_DENIED' } },
    ])
    await t.rejects(spool.abort(id), { code: 'ERR_SPOOL_DENIED' })
    t.equal(b.oss.requests.length, before, 'no request')
    t.match(await spool.uploads({ all: true, receipts: true }), [{ id }])
  },
)

t.test(
  'the command line sends nothing to other endpoints, and proposes the flags for them',
  async t => {
    const b = await bench(t)
    const other = await elsewhere(t)
    const id = await leave(b, 'sealed')
    const before = b.oss.requests.length
    const env = { ...environment(other), OSS_SPOOL_DIR: b.dir }
    for (const [words, status] of [
      [['resume', id], 75],
      [['resume', '--all'], 0],
      [['abort', id, '--yes'], 1],
      [['abort', '--all', '--yes'], 0],
      [['prune', '--sealed', '--older-than=0s', '--yes'], 0],
    ] as const) {
      const outcome = await run(t.testdir({}), words, undefined, env)
      t.equal(outcome.status, status, `${words.join(' ')}: ${outcome.err}`)
      t.match(outcome.err + outcome.out, new RegExp(b.oss.endpoint), 'the endpoint is named')
    }
    t.equal(b.oss.requests.length, before, 'no request')
    t.same(other.requests, [])
  },
)

const KEYS = { accessKeyId: 'id', accessKeySecret: 'secret', region: 'oss-cn-hangzhou' }

for (const [endpoint, expected] of [
  ['https://oss-cn-hangzhou.aliyuncs.com', true],
  ['https://oss-cn-hangzhou-internal.aliyuncs.com', true],
  ['https://oss-accelerate.aliyuncs.com', true],
  ['https://bucket.oss-us-west-1.aliyuncs.com', true],
  ['http://oss-cn-beijing.aliyuncs.com', false],
  ['https://aliyuncs.com', false],
  ['https://ecs.aliyuncs.com', false],
  ['https://oss-cn-hangzhou.aliyuncs.com.example.org', false],
  ['https://oss-cn-hangzhou.aliyuncs.com.', false],
  ['https://example.org/oss-cn-hangzhou.aliyuncs.com', false],
  ['https://oss-cn-hangzhou.aliyuncs.com@example.org', false],
  ['https://evil-oss-cn-hangzhou.aliyuncs.com', false],
  ['https://oss-cn-hangzhou.aliyuncs.com\n.example.org', false],
  ['https://oss-cn-hangzhou.aliyuncs.org', false],
  ['javascript:oss-cn-hangzhou.aliyuncs.com', false],
  ['oss-cn-hangzhou.aliyuncs.com', false],
] as const) {
  const verb = expected ? 'may' : 'must not'
  t.test(`credentials ${verb} be sent to ${JSON.stringify(endpoint)}`, async t => {
    t.equal(isServiceEndpoint(endpoint), expected)
    const connection = connect(KEYS)
    t.equal(connection.mayReach({ endpoint, bucket: BUCKET }), expected)
  })
}
