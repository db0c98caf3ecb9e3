/** Moving an upload to another bucket, key or endpoint (`resume` with `to`). */
import { once } from 'node:events'
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import OSS from 'ali-oss'
import t, { type Test } from 'tap'
import { decodeCheckpoint, type Checkpoint } from '../../src/disk/checkpoint.js'
import { Claim } from '../../src/disk/claim.js'
import { LocalRecordStore } from '../../src/disk/local-record-store.js'
import { startEmulator, type Emulator } from '../../src/emulator/index.js'
import type { MoveTarget, SpoolOptions, UploadOptions } from '../../src/index.js'
import { refuseIfMovedTo, relocate } from '../../src/upload/finish/relocate.js'
import { destinationOf } from '../../src/upload/model/destination.js'
import { defaultId } from '../../src/upload/model/names.js'
import { bench, BUCKET, bytes, failingAfter, streamOf, type Bench } from '../support/oss.js'

const PART = 102_400
const DATA = bytes(2 * PART + 50)
const OTHER = 'other-bucket'
const BUCKETS = { emulator: { buckets: [BUCKET, OTHER] } }
const DENIED = { do: 'answer', status: 403, code: 'AccessDenied' } as const
const LOST = { do: 'reset', at: 'done' } as const

/** Leaves an upload of `data` that is sealed, since OSS does not accept its last part or PutObject. */
async function leaveSealed(
  b: Bench,
  { key = 'key', data = DATA, ...options }: UploadOptions & { key?: string; data?: Buffer } = {},
): Promise<string> {
  const faults = [
    b.oss.inject({ operation: 'CompleteMultipartUpload', key, ...DENIED, times: 'always' }),
    b.oss.inject({ operation: 'PutObject', key, ...DENIED, times: 'always' }),
  ]
  const sink = b.spool.createWriteStream(key, options)
  sink.on('error', () => {})
  sink.end(data)
  await sink.result.catch(() => undefined)
  for (const fault of faults) fault.remove()
  return sink.id
}

async function checkpointOf(b: Bench, id: string): Promise<Checkpoint> {
  return decodeCheckpoint(await textOf(b, id))
}

function textOf(b: Bench, id: string): Promise<string> {
  return readFile(join(b.dir, id, 'checkpoint.json'), 'utf8')
}

async function read(oss: Emulator, bucket: string, key: string): Promise<Buffer | undefined> {
  const client = new OSS(oss.clientOptions(bucket))
  return client.get(key).then(
    ({ content }) => Buffer.from(content),
    () => undefined,
  )
}

async function uploadIds(oss: Emulator, bucket = BUCKET): Promise<string[]> {
  const query = { 'max-uploads': 100 }
  const { uploads } = await new OSS(oss.clientOptions(bucket)).listUploads(query, {})
  return uploads.map(({ uploadId }: { uploadId: string }) => uploadId)
}

/** Another endpoint, and a spool for it on the directory of `b`. */
async function elsewhere(t: Test, b: Bench, options: Partial<SpoolOptions> = {}) {
  const oss = await startEmulator({ buckets: [OTHER] })
  t.teardown(() => oss.close())
  const spool = b.another({ client: oss.clientOptions(OTHER), ...options })
  return { oss, spool }
}

const TARGETS: readonly (readonly [string, MoveTarget, string, string])[] = [
  ['bucket', { bucket: OTHER }, OTHER, 'key'],
  ['key', { key: 'a/b.csv' }, BUCKET, 'a/b.csv'],
  ['bucket and key', { bucket: OTHER, key: 'a/b.csv' }, OTHER, 'a/b.csv'],
]

for (const [what, to, bucket, key] of TARGETS) {
  t.test(`resume() moves a sealed upload to another ${what} and leaves nothing behind`, async t => {
    const b = await bench(t, BUCKETS)
    const id = await leaveSealed(b, { once: true })
    t.equal((await uploadIds(b.oss)).length, 1)
    const result = await b.another().resume(id, { to })
    t.match(result, { id, bucket, key, size: DATA.length, sent: DATA.length, resumed: true })
    t.same(await read(b.oss, bucket, key), DATA)
    t.equal(await b.get('key'), undefined)
    t.same(await uploadIds(b.oss), [])
    t.same(await readdir(b.dir), [], 'not even a receipt')
    t.same(
      b.warnings.map(({ message }) => message).filter(text => /moved/.test(text)),
      [],
    )
  })
}

t.test('resume() moves a small upload, which is sent by PutObject', async t => {
  const b = await bench(t, BUCKETS)
  const data = bytes(1000)
  const id = await leaveSealed(b, { data })
  t.match(await b.another().resume(id, { to: { bucket: OTHER } }), { parts: 1 })
  t.same(await read(b.oss, OTHER, 'key'), data)
  t.same(await readdir(b.dir), [])
})

t.test('resume() moves a committed upload, up to its last commit', async t => {
  const b = await bench(t, BUCKETS)
  const sink = b.spool.createWriteStream('key')
  sink.on('error', () => {})
  sink.write(DATA)
  await sink.commit()
  while ((await checkpointOf(b, sink.id)).upload.uploadId === undefined) await sleep(5)
  sink.write('more')
  sink.destroy()
  await sink.result.catch(() => undefined)
  const result = await b.another().resume(sink.id, { to: { key: 'new' } })
  t.match(result, { key: 'new', size: DATA.length })
  t.same(await b.get('new'), DATA)
  t.same(await uploadIds(b.oss), [])
  t.same(await readdir(b.dir), [])
})

t.test('resume() moves a sealed upload and drops a later stream that was not sealed', async t => {
  const b = await bench(t, BUCKETS)
  const id = await leaveSealed(b)
  const source = failingAfter(bytes(3 * PART), new Error('cut'))
  await b.spool.upload('key', () => source, { id, maxAge: 0, replay: 'offset' }).catch(() => {})
  t.match(await checkpointOf(b, id), {
    upload: { phase: 'spooling' },
    previous: { phase: 'sealed' },
  })
  await b.another().resume(id, { to: { key: 'new' } })
  t.same(await b.get('new'), DATA)
  t.same(await uploadIds(b.oss), [])
  t.same(await readdir(b.dir), [])
})

t.test('a move is durable before anything is sent to the new place', async t => {
  const b = await bench(t, BUCKETS)
  const id = await leaveSealed(b)
  b.oss.inject({ operation: 'InitiateMultipartUpload', key: 'new', ...DENIED, times: 'always' })
  const moved = b.another().resume(id, { to: { key: 'new' } })
  await t.rejects(moved, { code: 'ERR_SPOOL_DENIED', resumable: true, message: /\/new/ })
  t.match(await b.spool.uploads(), [{ id, key: 'new', resumable: true, uploaded: 0 }])
  t.match(await checkpointOf(b, id), { key: 'new', movedFrom: [{ key: 'key' }] })
  t.match(JSON.parse(await textOf(b, id)), { format: 2 })
  t.equal((await uploadIds(b.oss)).length, 1, 'the old place is settled after the publication')

  await t.rejects(b.another().resume(id, { to: { key: 'new' } }), { code: 'ERR_SPOOL_DENIED' })
  b.oss.clearFaults()
  t.match(await b.another().resume(id), { key: 'new', sent: DATA.length })
  t.same(await b.get('new'), DATA)
  t.same(await uploadIds(b.oss), [])
  t.same(await readdir(b.dir), [])
})

t.test('resume() moves an upload to the endpoint of its client', async t => {
  const b = await bench(t, BUCKETS)
  const { oss, spool } = await elsewhere(t, b)
  const id = await leaveSealed(b)
  const to = { endpoint: oss.endpoint, region: 'cn-hangzhou', bucket: OTHER }
  t.match(await spool.resume(id, { to }), { id, bucket: OTHER, key: 'key' })
  t.same(await read(oss, OTHER, 'key'), DATA)
  const [warning] = b.warnings.filter(({ message }) => /not settled/.test(message))
  t.match(warning, { id, message: b.oss.endpoint }, 'no credentials go to another endpoint')
  t.equal((await uploadIds(b.oss)).length, 1)
  t.same(await spool.uploads({ all: true }), [], 'it is finished all the same')
  t.same(await spool.prune({ olderThan: 0 }), [])
  t.match(await checkpointOf(b, id), { upload: { phase: 'published' }, movedFrom: [{}] })

  await b.another().prune()
  t.same(await uploadIds(b.oss), [])
  t.same(await readdir(b.dir), [])
})

t.test('resume() of a published upload settles the place from which it was moved', async t => {
  const b = await bench(t, BUCKETS)
  const { oss, spool } = await elsewhere(t, b)
  const id = await leaveSealed(b)
  await spool.resume(id, { to: { endpoint: oss.endpoint, bucket: OTHER } })
  t.match(await b.another().resume(id), { receipt: true, bucket: OTHER })
  t.same(await uploadIds(b.oss), [])
  t.same(await readdir(b.dir), [])
})

t.test('the spool of the new endpoint lists a moved upload', async t => {
  const b = await bench(t, BUCKETS)
  const { oss, spool } = await elsewhere(t, b)
  const id = await leaveSealed(b)
  oss.inject({ operation: 'InitiateMultipartUpload', ...DENIED, times: 'always' })
  const to = { endpoint: oss.endpoint, bucket: OTHER }
  await t.rejects(spool.resume(id, { to }), { code: 'ERR_SPOOL_DENIED' })
  t.match(await spool.uploads(), [{ id, endpoint: oss.endpoint, bucket: OTHER }])
  t.same(await b.spool.uploads(), [])
})

t.test('resume() moves no upload to an endpoint that the client is not for', async t => {
  const b = await bench(t, BUCKETS)
  const { oss } = await elsewhere(t, b)
  const id = await leaveSealed(b)
  const before = await textOf(b, id)
  for (const endpoint of [oss.endpoint, 'http://oss-cn-hangzhou.aliyuncs.com', 'evil.example']) {
    const to = { endpoint }
    await t.rejects(b.spool.resume(id, { to }), { code: 'ERR_SPOOL_ENDPOINT', resumable: true })
  }
  t.equal(await textOf(b, id), before)
  t.same(oss.requests, [])
})

t.test('resume() finishes elsewhere what an earlier bucket does not accept', async t => {
  const b = await bench(t, BUCKETS)
  const wrong = b.another({ client: b.oss.clientOptions('no-such-bucket') })
  const error = await wrong.upload('key', () => streamOf(DATA)).catch((cause: unknown) => cause)
  t.match(error, { code: 'ERR_SPOOL_DENIED', ossCode: 'NoSuchBucket', resumable: true })
  const id = String(Object(error).id)
  t.match(await b.spool.resume(id, { to: { bucket: BUCKET } }), { bucket: BUCKET })
  t.same(await b.get('key'), DATA)
  t.same(await readdir(b.dir), [])
})

const WRONG_TARGETS = [
  ['there is no such bucket', { status: 404, code: 'NoSuchBucket' }, 'to: { bucket, key }'],
  [
    'the bucket is elsewhere',
    { status: 301, code: 'PermanentRedirect' },
    'to: { endpoint, region }',
  ],
  ['the location is invalid', { status: 400, code: 'InvalidLocation' }, 'to: { endpoint, region }'],
  [
    'another endpoint is required',
    {
      status: 403,
      code: 'AccessDenied',
      message:
        'The bucket you are attempting to access must be addressed using the specified endpoint.',
    },
    'to: { endpoint, region }',
  ],
  ['the key is refused', { status: 400, code: 'InvalidObjectName' }, 'to: { bucket, key }'],
  [
    'another server answers with an error',
    { status: 403, body: '<html/>', headers: { 'x-oss-request-id': null } },
    'to: { endpoint, region }',
  ],
  [
    'another server answers with success',
    { status: 200, body: '<html/>', headers: { 'x-oss-request-id': null } },
    'to: { endpoint, region }',
  ],
] as const

for (const [what, answer, call] of WRONG_TARGETS) {
  t.test(`an error proposes to move the upload if ${what}`, async t => {
    const b = await bench(t, BUCKETS)
    b.oss.inject({ do: 'answer', ...answer, times: 'always' })
    const upload = (options: UploadOptions) =>
      b.another().upload('key', () => streamOf(DATA), options)
    const failed: unknown = await upload({ id: 'sealed' }).catch((cause: unknown) => cause)
    t.match(failed, { resumable: true, hint: `spool.resume('sealed', { ${call} })` })
    const cut = b.another().upload('key', () => failingAfter(DATA, new Error('cut')), { id: 'cut' })
    const error = Object(await cut.catch((cause: unknown) => cause))
    t.match(error, { resumable: false })
    t.notMatch(error.hint, 'to:', 'not without its bytes')
  })
}

t.test('an error proposes to move the upload if no OSS is at its endpoint', async t => {
  const b = await bench(t, BUCKETS)
  const smtp = createServer(socket => socket.end('220 ready\r\n'))
  smtp.listen(0, '127.0.0.1')
  await once(smtp, 'listening')
  t.teardown(() => smtp.close())
  const { port } = Object(smtp.address())
  const { host } = new URL(b.oss.endpoint)
  for (const endpoint of ['http://127.0.0.1:9', `https://${host}`, `http://127.0.0.1:${port}`]) {
    const client = {
      ...b.oss.clientOptions(BUCKET),
      endpoint,
      secure: endpoint.startsWith('https'),
    }
    const upload = b.another({ client }).upload('key', () => streamOf(DATA), { id: 'id' })
    const hint = "spool.resume('id', { to: { endpoint, region } })"
    await t.rejects(upload, { code: 'ERR_SPOOL_UPLOAD_FAILED', resumable: true, hint }, endpoint)
    await b.another({ client }).abort('id', { remote: false })
  }
})

t.test(
  'an error proposes no move if the cause can be fixed, or some bytes are only on OSS',
  async t => {
    const b = await bench(t, BUCKETS)
    b.oss.inject({ operation: 'CompleteMultipartUpload', ...DENIED, times: 1 })
    const denied = b.spool.upload('key', () => streamOf(DATA), { id: 'denied' })
    const hint = (error: unknown): string => String(Object(error).hint)
    t.notMatch(await denied.catch(hint), 'to:')
    const gone = { do: 'answer', status: 404, code: 'NoSuchBucket' } as const
    b.oss.inject({ operation: 'CompleteMultipartUpload', ...gone, times: 'always' })
    const options = { id: 'freed', maxSpoolBytes: 4 * PART, parallel: 1 }
    const freed = b.spool.upload('other', () => streamOf(bytes(9 * PART)), options)
    t.notMatch(await freed.catch(hint), 'to:')
  },
)

const PUBLISHED = [
  ['CompleteMultipartUpload', DATA],
  ['PutObject', DATA.subarray(0, 1000)],
] as const

for (const [operation, data] of PUBLISHED) {
  t.test(`an upload that ${operation} published at its old place is published at both`, async t => {
    const b = await bench(t, BUCKETS)
    b.oss.inject({ operation, ...LOST, times: 'always' })
    b.oss.inject({ operation: 'HeadObject', do: 'reset', times: 'always' })
    const sink = b.spool.createWriteStream('key')
    sink.on('error', () => {})
    sink.end(data)
    await t.rejects(sink.result, { code: 'ERR_SPOOL_UPLOAD_FAILED', resumable: true })
    b.oss.clearFaults()
    await b.another().resume(sink.id, { to: { bucket: OTHER } })
    t.same(await read(b.oss, OTHER, 'key'), data)
    t.same(await b.get('key'), data)
    t.match(
      b.warnings.filter(({ message }) => /was published, too/.test(message)),
      [{ message: `oss://${BUCKET}/key` }],
    )
    t.same(await readdir(b.dir), [])
  })

  t.test(`an upload returns to the place where its ${operation} was not answered`, async t => {
    const b = await bench(t, BUCKETS)
    b.oss.inject({ operation, ...LOST, times: 'always' })
    b.oss.inject({ operation: 'HeadObject', do: 'reset', times: 'always' })
    const sink = b.spool.createWriteStream('key')
    sink.on('error', () => {})
    sink.end(data)
    await t.rejects(sink.result, { code: 'ERR_SPOOL_UPLOAD_FAILED' })
    b.oss.clearFaults()
    b.oss.inject({ key: 'new', ...DENIED, times: 'always' })
    const { id } = sink
    await t.rejects(b.another().resume(id, { to: { key: 'new' } }), { code: 'ERR_SPOOL_DENIED' })
    b.oss.clearFaults()
    t.match(await b.another().resume(id, { to: { key: 'key' } }), { key: 'key' })
    t.same(await b.get('key'), data)
    t.equal(await b.get('new'), undefined)
    t.same(await uploadIds(b.oss), [])
    t.same(await readdir(b.dir), [])
  })
}

t.test('an old place that refuses is a warning, and is settled by prune()', async t => {
  const b = await bench(t, BUCKETS)
  const id = await leaveSealed(b)
  const refused = b.oss.inject({ operation: 'AbortMultipartUpload', ...DENIED, times: 'always' })
  t.match(await b.another().resume(id, { to: { key: 'new' } }), { key: 'new' })
  t.match(b.warnings.at(-1), { id, message: /not settled yet.*AccessDenied/ })
  refused.remove()
  await b.another().prune()
  t.same(await uploadIds(b.oss), [])
  t.same(await readdir(b.dir), [])
})

t.test('prune() aborts the orphan of a lost Initiate at the old place', async t => {
  const b = await bench(t, BUCKETS)
  b.oss.inject({ operation: 'InitiateMultipartUpload', ...LOST, times: 1 })
  const id = await leaveSealed(b)
  t.equal((await uploadIds(b.oss)).length, 2)
  await b.another().resume(id, { to: { key: 'new' } })
  t.equal((await uploadIds(b.oss)).length, 1)
  await sleep(2_000) // until it is certain that no other upload uses it
  t.match(await b.another().prune({ orphans: true }), [{ kind: 'orphan', id, key: 'key' }])
  t.same(await uploadIds(b.oss), [])
})

t.test('a new stream takes the id of a moved upload whose old place is not settled', async t => {
  const b = await bench(t, BUCKETS)
  const id = await leaveSealed(b)
  const refused = b.oss.inject({ operation: 'AbortMultipartUpload', ...DENIED, times: 'always' })
  await b.another().resume(id, { to: { key: 'new' } })
  const again = bytes(1000)
  t.match(await b.spool.upload('key', () => streamOf(again)), { id, key: 'key' })
  t.same(await b.get('key'), again)
  t.same(await b.get('new'), DATA)
  refused.remove()
  await b.another().prune()
  t.same(await uploadIds(b.oss), [])
  t.same(await readdir(b.dir), [])
})

t.test('abort() aborts upload ids at the old and at the new place', async t => {
  const b = await bench(t, BUCKETS)
  const id = await leaveSealed(b)
  b.oss.inject({ operation: 'CompleteMultipartUpload', ...DENIED, times: 'always' })
  await t.rejects(b.another().resume(id, { to: { bucket: OTHER } }), { code: 'ERR_SPOOL_DENIED' })
  t.equal((await uploadIds(b.oss)).length + (await uploadIds(b.oss, OTHER)).length, 2)
  await b.another().abort(id)
  t.same([...(await uploadIds(b.oss)), ...(await uploadIds(b.oss, OTHER))], [])
  t.same(await readdir(b.dir), [])
})

t.test('abort() keeps an upload whose old place is at another endpoint', async t => {
  const b = await bench(t, BUCKETS)
  const { oss, spool } = await elsewhere(t, b)
  const id = await leaveSealed(b)
  oss.inject({ operation: 'InitiateMultipartUpload', ...DENIED, times: 'always' })
  await spool.resume(id, { to: { endpoint: oss.endpoint, bucket: OTHER } }).catch(() => undefined)
  await t.rejects(spool.abort(id), {
    code: 'ERR_SPOOL_ENDPOINT',
    id,
    resumable: true,
    hint: `spool.abort('${id}', { remote: false })`,
  })
  t.match(await spool.uploads(), [{ id }])
})

t.test(
  'abort() needs no old place at which nothing but an empty upload id may be left',
  async t => {
    const b = await bench(t, BUCKETS)
    const { oss, spool } = await elsewhere(t, b)
    b.oss.inject({ operation: 'InitiateMultipartUpload', ...LOST, times: 'always' })
    const id = await leaveSealed(b)
    oss.inject({ operation: 'InitiateMultipartUpload', ...DENIED, times: 'always' })
    await spool.resume(id, { to: { endpoint: oss.endpoint, bucket: OTHER } }).catch(() => undefined)
    t.match((await checkpointOf(b, id)).movedFrom, [{ superseded: [], lost: { length: 1 } }])
    await spool.abort(id)
    t.same(await readdir(b.dir), [])
  },
)

t.test('an upload whose bytes are partly freed is not moved', async t => {
  const b = await bench(t, BUCKETS)
  const id = await leaveSealed(b, { maxSpoolBytes: 4 * PART, parallel: 1, data: bytes(9 * PART) })
  t.match(await checkpointOf(b, id), { upload: { phase: 'sealed', freed: [[1, Number]] } })
  const before = await textOf(b, id)
  const moved = b.spool.resume(id, { to: { key: 'new' } })
  await t.rejects(moved, { code: 'ERR_SPOOL_UPLOAD_FAILED', resumable: true, id })
  t.equal(await textOf(b, id), before)
  t.match(await b.spool.resume(id), { key: 'key' })
})

t.test('an upload that needs its source is not moved', async t => {
  const b = await bench(t, BUCKETS)
  const source = failingAfter(DATA, new Error('cut'))
  await b.spool.upload('key', () => source, { id: 'cut' }).catch(() => undefined)
  const before = await textOf(b, 'cut')
  await t.rejects(b.spool.resume('cut', { to: { key: 'new' } }), { code: 'ERR_SPOOL_UNSEALED' })
  t.equal(await textOf(b, 'cut'), before)
  t.match(await b.spool.upload('key', () => streamOf(DATA), { id: 'cut' }), { key: 'key' })
})

t.test('a receipt is not moved', async t => {
  const b = await bench(t, BUCKETS)
  await b.spool.upload('key', () => streamOf(DATA), { id: 'done', once: true })
  const to = { key: 'new' }
  await t.rejects(b.spool.resume('done', { to }), { code: 'ERR_SPOOL_NOT_FOUND' })
  t.match(await b.spool.resume('done', { to: { key: 'key' } }), { receipt: true })
})

t.test('while an upload is bound for another key, its id and that key are in use', async t => {
  const b = await bench(t, BUCKETS)
  const id = await leaveSealed(b)
  b.oss.inject({ operation: 'CompleteMultipartUpload', key: 'new', ...DENIED, times: 'always' })
  await b.spool.resume(id, { to: { key: 'new' } }).catch(() => undefined)
  b.oss.clearFaults()
  const never = (): never => t.fail('the source was called') as never
  const inUse = { code: 'ERR_SPOOL_ID_IN_USE', id, resumable: false, hint: `resume('${id}')` }
  await t.rejects(b.spool.upload('key', never), inUse, 'a put of the old key')
  await t.rejects(b.spool.upload('new', never), inUse, 'a put of the new key')
  await t.rejects(b.spool.upload('new', never, { id: 'explicit' }), inUse)
  const sink = b.spool.createWriteStream('new')
  sink.on('error', () => {})
  sink.end(DATA)
  await t.rejects(sink.result, inUse)
  t.match(await b.spool.upload('third', () => streamOf(DATA)), { key: 'third' })
  t.same(
    (await readdir(b.dir)).filter(name => !name.startsWith('.')),
    [id],
    'the refused uploads leave nothing',
  )
  t.match(await b.spool.resume(id), { key: 'new' })
  for (const key of ['key', 'new']) await b.spool.upload(key, () => streamOf(DATA))
  t.same(await readdir(b.dir), [])
})

t.test('an upload that is moved on frees the key it was bound for', async t => {
  const b = await bench(t, BUCKETS)
  const id = await leaveSealed(b)
  b.oss.inject({ operation: 'CompleteMultipartUpload', ...DENIED, times: 'always' })
  for (const key of ['second', 'third', 'key', 'fourth']) {
    await t.rejects(b.another().resume(id, { to: { key } }), { code: 'ERR_SPOOL_DENIED' })
  }
  b.oss.clearFaults()
  await b.spool.upload('second', () => streamOf(DATA))
  await t.rejects(
    b.spool.upload('fourth', () => streamOf(DATA)),
    { code: 'ERR_SPOOL_ID_IN_USE' },
  )
  t.equal((await checkpointOf(b, id)).movedFrom?.length, 3)
  await b.another().resume(id)
  t.same(await uploadIds(b.oss), [])
  t.same(await readdir(b.dir), [])
})

t.test('no upload is moved to a key for which another one is bound', async t => {
  const b = await bench(t, BUCKETS)
  const id = await leaveSealed(b)
  await leaveSealed(b, { key: 'new', id: 'other' })
  const before = await textOf(b, id)
  const inUse = { code: 'ERR_SPOOL_ID_IN_USE', id: 'other' }
  await t.rejects(b.spool.resume(id, { to: { key: 'new' } }), inUse)
  t.equal(await textOf(b, id), before)
  t.same((await readdir(b.dir)).toSorted(), [id, 'other'].toSorted(), 'no note is left')
  await b.spool.resume('other')
  t.match(await b.spool.resume(id, { to: { key: 'new' } }), { key: 'new' })
})

t.test('of two uploads that are moved to one key at a time, at most one is', async t => {
  const b = await bench(t, BUCKETS)
  const ids = await Promise.all(['a', 'b'].map(id => leaveSealed(b, { key: id, id })))
  b.oss.inject({ operation: 'CompleteMultipartUpload', ...DENIED, times: 'always' })
  const moves = ids.map(id => b.another().resume(id, { to: { key: 'new' } }))
  const codes = (await Promise.allSettled(moves)).map(each => Object(Object(each).reason).code)
  t.ok(codes.includes('ERR_SPOOL_ID_IN_USE'), codes.join())
  const keys = await Promise.all(ids.map(async id => (await checkpointOf(b, id)).key))
  t.ok(keys.filter(key => key === 'new').length <= 1, keys.join())
})

t.test('a change of the region alone keeps upload ids and parts', async t => {
  const b = await bench(t, BUCKETS)
  const id = await leaveSealed(b)
  const result = await b
    .another()
    .resume(id, { to: { region: 'cn-shanghai' } })
    .catch(
      (error: unknown) => error, // the emulator has another region
    )
  t.match(result, { code: 'ERR_SPOOL_UPLOAD_FAILED', resumable: true })
  t.match(await checkpointOf(b, id), { region: 'oss-cn-shanghai', movedFrom: undefined })
  t.match(await b.another().resume(id, { to: { region: 'oss-cn-hangzhou' } }), { sent: 0 })
})

t.test('invalid targets are refused before any work', async t => {
  const b = await bench(t, BUCKETS)
  const refuse = (to: unknown, code = 'ERR_INVALID_ARG_VALUE') =>
    t.rejects(b.spool.resume('none', { to: to as MoveTarget }), { code })
  await refuse({})
  await refuse(null, 'ERR_INVALID_ARG_TYPE')
  await refuse('oss://a/b', 'ERR_INVALID_ARG_TYPE')
  await refuse({ bukket: 'x' })
  await refuse({ bucket: 'No' })
  await refuse({ bucket: 5 }, 'ERR_INVALID_ARG_TYPE')
  await refuse({ key: '' }, 'ERR_SPOOL_INVALID_KEY')
  await refuse({ key: '/x' }, 'ERR_SPOOL_INVALID_KEY')
  await refuse({ endpoint: '' }, 'ERR_INVALID_ARG_TYPE')
  await refuse({ region: 5 }, 'ERR_INVALID_ARG_TYPE')
  await refuse({ cname: 'yes' }, 'ERR_INVALID_ARG_TYPE')
  const id = await leaveSealed(b)
  const before = await textOf(b, id)
  const values = [{ endpoint: 'ftp://x' }, { endpoint: 'https://u:p@x' }, { region: 'A B' }]
  for (const to of [...values, { endpoint: 'b.oss-cn-hangzhou.aliyuncs.com' }]) {
    await t.rejects(b.spool.resume(id, { to }), { code: 'ERR_INVALID_ARG_VALUE' })
  }
  t.equal(await textOf(b, id), before)
})

/** A sealed upload `moving` on the disk of `b`, its claim and where it is to be moved. */
async function aboutToMove(b: Bench) {
  const id = await leaveSealed(b, { id: 'moving' })
  const records = new LocalRecordStore(b.dir)
  const claim = await Claim.acquireExisting(records, id)
  return { records, claim, to: { ...destinationOf(claim.checkpoint), key: 'new' } }
}

t.test('an upload that starts during a move waits until that is decided', async t => {
  for (const isMoved of [true, false]) {
    const b = await bench(t, BUCKETS)
    const { records, claim, to } = await aboutToMove(b)
    await records.noteMove(to, claim.id)
    const start = refuseIfMovedTo(records, 'starting', to)
    await sleep(100)
    if (isMoved) {
      const rejected = t.rejects(start, { code: 'ERR_SPOOL_ID_IN_USE', id: 'moving' })
      await relocate(claim, to)
      await rejected
    } else {
      await claim.release()
      await t.resolves(start)
    }
  }
})

t.test('a move waits for an upload that has a lock but no record yet', async t => {
  for (const id of ['default', 'explicit']) {
    const b = await bench(t, BUCKETS)
    const { records, claim, to } = await aboutToMove(b)
    const starting = await Claim.acquire(records, id === 'default' ? defaultId(to, 'new') : id)
    const moved = relocate(claim, to)
    await sleep(100)
    t.match(await checkpointOf(b, 'moving'), { key: 'key' })
    await starting.releaseOrRemove()
    await moved
    t.match(await checkpointOf(b, 'moving'), { key: 'new' })
    await claim.release()
  }
})

t.test('a note without its upload stops nothing and is swept', async t => {
  const b = await bench(t, BUCKETS)
  const records = new LocalRecordStore(b.dir)
  await mkdir(b.dir, { recursive: true })
  const to = { endpoint: b.oss.endpoint, bucket: BUCKET, key: 'key' }
  await records.noteMove(to, 'gone')
  t.match(await b.spool.upload('key', () => streamOf(DATA)), { key: 'key' })
  t.same(await readdir(b.dir), [])
})

t.test('a note of an upload that is bound for another key stops nothing', async t => {
  const b = await bench(t, BUCKETS)
  const id = await leaveSealed(b)
  await new LocalRecordStore(b.dir).noteMove(
    { endpoint: b.oss.endpoint, bucket: BUCKET, key: 'new' },
    id,
  )
  t.match(await b.spool.upload('new', () => streamOf(DATA)), { key: 'new' })
})

t.test('a damaged record of a moved upload stops no other upload', async t => {
  const b = await bench(t, BUCKETS)
  const id = await leaveSealed(b)
  b.oss.inject({ operation: 'CompleteMultipartUpload', key: 'new', ...DENIED, times: 'always' })
  await b.spool.resume(id, { to: { key: 'new' } }).catch(() => undefined)
  b.oss.clearFaults()
  await writeFile(join(b.dir, id, 'checkpoint.json'), 'x')
  t.match(await b.spool.upload('new', () => streamOf(DATA)), { key: 'new' })
})

t.test('a note that a dead process left stops nothing while its upload runs', async t => {
  const b = await bench(t, BUCKETS)
  const id = await leaveSealed(b)
  const records = new LocalRecordStore(b.dir)
  await records.noteMove({ endpoint: b.oss.endpoint, bucket: BUCKET, key: 'new' }, id)
  const hanging = b.oss.inject({ operation: 'CompleteMultipartUpload', key: 'key', do: 'hang' })
  const resumed = b.another().resume(id)
  await hanging.hit()
  t.match(await b.another().upload('new', () => streamOf(DATA)), { key: 'new' })
  hanging.release()
  t.match(await resumed, { key: 'key' })
})

t.test('a new stream that cannot start leaves the record of the moved upload', async t => {
  const b = await bench(t, BUCKETS)
  const id = await leaveSealed(b)
  b.oss.inject({ operation: 'AbortMultipartUpload', ...DENIED, times: 'always' })
  await b.another().resume(id, { to: { key: 'new' } })
  const before = await textOf(b, id)
  const inPlace = join(b.dir, 'missing')
  await t.rejects(b.spool.upload('key', () => streamOf(DATA), { inPlace }))
  t.equal(await textOf(b, id), before)
  t.match(await b.spool.resume(id), { key: 'new' })
})

t.test('an upload that leaves a place twice is looked for there', async t => {
  const b = await bench(t, BUCKETS)
  b.oss.inject({ operation: 'CompleteMultipartUpload', ...LOST, times: 'always' })
  b.oss.inject({ operation: 'HeadObject', do: 'reset', times: 'always' })
  const sink = b.spool.createWriteStream('key')
  sink.on('error', () => {})
  sink.end(DATA)
  await t.rejects(sink.result, { code: 'ERR_SPOOL_UPLOAD_FAILED' })
  b.oss.clearFaults()
  const { id } = sink
  const refused = b.oss.inject({
    operation: 'InitiateMultipartUpload',
    ...DENIED,
    times: 'always',
  })
  for (const key of ['new', 'key']) {
    await t.rejects(b.another().resume(id, { to: { key } }), { code: 'ERR_SPOOL_DENIED' })
  }
  refused.remove()
  await b.another().resume(id, { to: { key: 'third' } })
  t.same(await b.get('key'), DATA)
  t.match(
    b.warnings.filter(({ message }) => /was published, too/.test(message)),
    [{ message: `oss://${BUCKET}/key` }],
  )
  t.same(await readdir(b.dir), [])
})

t.test('an upload in the way is named with what ends it', async t => {
  const b = await bench(t, BUCKETS)
  const id = await leaveSealed(b)
  const move = (): Promise<unknown> => b.another().resume(id, { to: { key: 'new' } })
  const source = failingAfter(DATA, new Error('cut'))
  await b.spool.upload('new', () => source, { id: 'cut' }).catch(() => undefined)
  const inUse = { code: 'ERR_SPOOL_ID_IN_USE', id: 'cut' }
  await t.rejects(move(), { ...inUse, hint: /^To discard it, .*abort\('cut'\)/ })
  const sink = b.spool.createWriteStream('new', { id: 'cut' })
  sink.on('error', () => {})
  sink.write(DATA)
  await new Promise(resolve => sink.once('progress', resolve))
  await t.rejects(move(), { ...inUse, hint: new RegExp(`Wait until process ${process.pid} `) })
  sink.end()
  await sink.result
  t.match(await move(), { key: 'new' })
})
