/** Pruning and orphans. Neither touches uploads that have an owner, nor anything on OSS that is not ours. */
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import OSS from 'ali-oss'
import t from 'tap'
import { bench, BUCKET, bytes, failingAfter, streamOf, type Bench } from '../support/oss.js'
import { dateAhead } from '../support/clock-ahead.js'
import { long } from '../support/long.js'

const PART = 102_400
const clientOf = ({ oss }: Bench) => new OSS(oss.clientOptions(BUCKET))
const uploadIds = async (b: Bench) =>
  (await clientOf(b).listUploads({ 'max-uploads': 100 }, {})).uploads.map(u => u.uploadId)

t.test(
  'prune() removes old unsealed uploads and receipts, and sealed uploads only with `sealed`',
  async t => {
    const b = await bench(t)
    const failed = b.spool.upload(
      'unsealed',
      () => failingAfter(bytes(3 * PART), new Error('x'), () => b.count('UploadPart') > 0),
      { id: 'unsealed' },
    )
    await t.rejects(failed, { code: 'ERR_SPOOL_SOURCE_FAILED' })
    await b.spool.upload('receipt', () => streamOf(bytes(5)), { id: 'receipt', once: true })
    const refused = b.oss.inject({
      operation: 'CompleteMultipartUpload',
      do: 'answer',
      status: 403,
      code: 'AccessDenied',
      times: 'always',
    })
    await t.rejects(b.spool.upload('sealed', () => streamOf(bytes(3 * PART)), { id: 'sealed' }))
    refused.remove()
    const open = b.spool.createWriteStream('owned', { id: 'owned', start: 'sealed' })
    open.write('x')
    await new Promise(resolve => setTimeout(resolve, 50))

    t.same(await b.spool.prune(), [], 'no upload is older than the default age')
    const would = await b.spool.prune({ olderThan: 0, dryRun: true })
    t.same(
      would.map(p => [p.kind, p.id]).toSorted(([a], [b]) => a!.localeCompare(b!)),
      [
        ['receipt', 'receipt'],
        ['upload', 'unsealed'],
      ],
    )
    t.equal((await uploadIds(b)).length, 2)
    t.same(await b.another().prune({ olderThan: 0 }), would)
    t.equal((await uploadIds(b)).length, 1, 'the unsealed upload was aborted on OSS')
    t.match(await b.spool.prune({ olderThan: 0, sealed: true }), [{ kind: 'upload', id: 'sealed' }])
    t.same(await uploadIds(b), [])
    t.same(await readdir(b.dir), ['owned'], 'an upload with an owner is kept')
    open.end()
    await open.result
    await t.rejects(b.spool.prune({ olderThan: -1 }), RangeError)
  },
)

void long(
  t,
  'prune() with `orphans` aborts the upload id of a lost Initiate response and no other',
  async t => {
    const b = await bench(t)
    const client = clientOf(b)
    const before = await client.initMultipartUpload('orphan') // of another program, older than ours
    await new Promise(resolve => setTimeout(resolve, 2100))
    b.oss.inject({ operation: 'InitiateMultipartUpload', do: 'reset', at: 'done' })
    const data = bytes(3 * PART)
    await pipeline(streamOf(data), b.spool.createWriteStream('orphan', { id: 'o' }))
    t.same(await b.get('orphan'), data)
    t.equal((await uploadIds(b)).length, 2, 'the upload id of the other program, and our orphan')
    t.same(await b.spool.uploads(), [], 'no unfinished upload')
    const withPart = await client.initMultipartUpload('orphan') // of another program, with a part
    await client.uploadPart('orphan', withPart.uploadId, 1, Buffer.alloc(10), 0, 10)
    await new Promise(resolve => setTimeout(resolve, 2100))
    const dry = await b.spool.prune({ orphans: true, dryRun: true })
    t.match(dry, [{ kind: 'orphan', id: 'o', key: 'orphan' }])
    t.same(await b.another().prune({ orphans: true }), dry)
    t.same((await uploadIds(b)).toSorted(), [before.uploadId, withPart.uploadId].toSorted())
    t.same(await b.another().prune({ orphans: true }), [])
    t.same(await readdir(b.dir), [], 'the record of the orphan is removed')
  },
)

t.test('a rejected Initiate leaves no record of an orphan', async t => {
  const b = await bench(t)
  b.oss.inject({
    operation: 'InitiateMultipartUpload',
    do: 'answer',
    status: 403,
    code: 'AccessDenied',
  })
  await pipeline(streamOf(bytes(3 * PART)), b.spool.createWriteStream('refused'))
  t.same(await readdir(b.dir), [])
})

t.test('prune() drops the record of a lost Initiate that never took effect', async t => {
  const b = await bench(t)
  b.oss.inject({ operation: 'InitiateMultipartUpload', do: 'reset' })
  const refused = { do: 'answer', status: 403, code: 'AccessDenied', times: 'always' } as const
  const list = b.oss.inject({ operation: 'ListMultipartUploads', ...refused })
  await pipeline(streamOf(bytes(3 * PART)), b.spool.createWriteStream('k', { id: 'u' }))
  t.same(await readdir(b.dir), ['u'], 'whether it left an upload id could not be asked')
  await b.another().prune()
  t.same(await readdir(b.dir), ['u'])
  list.remove()
  await b.another().prune()
  t.same(await readdir(b.dir), [])
})

t.test('prune() keeps the empty upload id of another upload of the same key', async t => {
  const b = await bench(t)
  b.oss.inject({ operation: 'InitiateMultipartUpload', do: 'reset', at: 'done' })
  await pipeline(streamOf(bytes(3 * PART)), b.spool.createWriteStream('shared', { id: 'first' }))
  const source = new PassThrough()
  const sink = b.another().createWriteStream('shared', { id: 'second' })
  const done = pipeline(source, sink)
  source.write('x')
  while (b.count('InitiateMultipartUpload') < 2)
    await new Promise(resolve => setTimeout(resolve, 10))
  await new Promise(resolve => setTimeout(resolve, 2200))
  const later = join(b.dir, 'later')
  await mkdir(later)
  await writeFile(join(later, 'checkpoint.json'), '{"format":99}')
  t.same(
    await b.spool.prune({ orphans: true }),
    [],
    'an unreadable checkpoint may contain the upload id',
  )
  t.equal((await uploadIds(b)).length, 2)
  await rm(later, { recursive: true })
  t.equal((await b.spool.prune({ orphans: true })).length, 1)
  t.equal((await uploadIds(b)).length, 1)
  const data = bytes(3 * PART)
  source.end(data)
  await done
  t.equal((await sink.result).size, data.length + 1)
})

t.test('prune() aborts superseded upload ids that could not be aborted earlier', async t => {
  const b = await bench(t)
  await t.rejects(
    b.spool.upload('left', () =>
      failingAfter(bytes(3 * PART), new Error('x'), () => b.count('UploadPart') > 0),
    ),
  )
  const refused = b.oss.inject({
    operation: 'AbortMultipartUpload',
    do: 'answer',
    status: 503,
    code: 'ServiceUnavailable',
    times: 'always',
  })
  await b.spool.upload('left', () => streamOf(bytes(9)))
  t.equal(b.warnings.filter(w => /could not be aborted/.test(w.message)).length, 1)
  t.same(await b.spool.uploads(), [])
  t.equal((await uploadIds(b)).length, 1)
  const [entry, ...rest] = await b.spool.prune()
  t.match(entry, { kind: 'upload', key: 'left', error: { code: 'ERR_SPOOL_UPLOAD_FAILED' } })
  t.same(rest, [])
  t.equal((await readdir(b.dir)).length, 1, 'its record stays')
  refused.remove()
  t.same(await b.spool.prune(), [])
  t.same(await uploadIds(b), [])
  t.same(await readdir(b.dir), [])
})

t.test('prune() warns of an upload whose orphans OSS refuses to list, and goes on', async t => {
  const b = await bench(t)
  b.oss.inject({ operation: 'InitiateMultipartUpload', do: 'reset', at: 'done', times: 1 })
  const refused = { do: 'answer', status: 403, code: 'AccessDenied', times: 'always' } as const
  const list = b.oss.inject({ operation: 'ListMultipartUploads', ...refused })
  await b.spool.upload('first', () => [bytes(300_000)], { id: 'a' })
  b.oss.inject({ operation: 'CompleteMultipartUpload', ...refused })
  await t.rejects(b.spool.upload('second', () => [bytes(300_000)], { id: 'b' }))
  const pruned = await b.another().prune({ olderThan: 0, orphans: true, sealed: true })
  t.match(pruned, [{ kind: 'upload', id: 'b' }])
  t.match(b.warnings.at(-1), { id: 'a', cause: { code: 'ERR_SPOOL_DENIED' } })
  list.remove()
})

t.test(
  'prune() has an error for an orphan that OSS refuses to abort, and finds it again',
  async t => {
    const b = await bench(t)
    b.oss.inject({ operation: 'InitiateMultipartUpload', do: 'reset', at: 'done', times: 1 })
    const refused = { do: 'answer', status: 403, code: 'AccessDenied', times: 'always' } as const
    const publishing = b.oss.inject({ operation: 'CompleteMultipartUpload', ...refused })
    await t.rejects(b.spool.upload('k', () => [bytes(300_000)], { id: 'k' }))
    publishing.remove()
    const abort = b.oss.inject({ operation: 'AbortMultipartUpload', ...refused })
    const orphan = { kind: 'orphan', id: 'k', uploadId: String } as const
    const pruned = await b.spool.prune({ orphans: true })
    t.match(pruned, [{ ...orphan, error: { code: 'ERR_SPOOL_DENIED', id: 'k' } }])
    abort.remove()
    const again = await b.spool.prune({ orphans: true })
    t.match(again, [orphan])
    t.equal(again[0]?.error, undefined)
    t.equal((await b.spool.resume('k')).size, 300_000)
    t.same(await uploadIds(b), [])
  },
)

t.test('prune() keeps what a clock dated into the future, unless any age will do', async t => {
  const b = await bench(t)
  await b.spool.upload('key', () => streamOf(bytes(5)), { id: 'receipt', once: true })
  await dateAhead(b.dir, 'receipt', 30 * 24 * 60 * 60 * 1000)
  t.same(await b.spool.prune({ olderThan: 1 }), [])
  t.match(await b.spool.prune({ olderThan: 0 }), [{ kind: 'receipt', id: 'receipt' }])
})
