/** Importing and finishing an unfinished `multipartUpload` of plain `ali-oss` by its checkpoint. */
import { readFile, rm, writeFile } from 'node:fs/promises'
import { createReadStream } from 'node:fs'
import OSS from 'ali-oss'
import t, { type Test } from 'tap'
import type { AliOssCheckpoint, UploadOptions, UploadResult } from '../../src/index.js'
import { bench, BUCKET, bytes, type Bench } from '../support/oss.js'

const PART = 102_400
const PARTS = 10
const SIZE = PARTS * PART - 17
const KEY = 'videos/holiday.mp4'

interface Left {
  readonly file: string
  readonly data: Buffer
  /** The checkpoint after a round trip through JSON, as a program would load it. */
  readonly checkpoint: AliOssCheckpoint
}

/** Runs a real `multipartUpload` that is cancelled after four of ten parts. */
async function leave(t: Test, b: Bench, name = KEY): Promise<Left> {
  const data = bytes(SIZE)
  const file = `${b.dir}.mp4`
  t.teardown(() => rm(file, { force: true }))
  await writeFile(file, data)
  const client = new OSS(b.oss.clientOptions(BUCKET))
  let left = ''
  const progress = async (_: number, checkpoint: unknown): Promise<void> => {
    left = JSON.stringify(checkpoint)
    if ((JSON.parse(left) as AliOssCheckpoint).doneParts.length === 4) client.cancel()
  }
  const meta = { uid: 1, pid: 7, camera: 'left' }
  await t.rejects(
    client.multipartUpload(name, file, { partSize: PART, parallel: 1, meta, progress }),
  )
  b.oss.requests.length = 0
  return { file, data, checkpoint: JSON.parse(left) as AliOssCheckpoint }
}

function go(b: Bench, { file, checkpoint }: Left, more: UploadOptions = {}): Promise<UploadResult> {
  const options = { checkpoint, inPlace: file, ...more }
  return b.spool.upload(KEY, () => createReadStream(file), options)
}

const sentParts = ({ oss }: Bench): number =>
  oss.requests.filter(({ operation }) => operation === 'UploadPart').length

t.test(
  'upload() finishes an ali-oss checkpoint under its upload id and resends no part',
  async t => {
    const b = await bench(t)
    const left = await leave(t, b)
    const result = await go(b, left)
    t.match(result, { size: SIZE, parts: PARTS, skipped: 4 * PART, sent: SIZE - 4 * PART })
    t.equal(sentParts(b), PARTS - 4)
    t.equal(b.count('InitiateMultipartUpload'), 0)
    t.same(await b.get(KEY), left.data)
    const { meta } = await new OSS(b.oss.clientOptions(BUCKET)).head(KEY)
    t.match(meta, { camera: 'left' }, 'the metadata of the first program is kept')
    t.same(await b.spool.uploads(), [])
    t.same(await readFile(left.file), left.data, 'the file is not changed')
  },
)

t.test('an imported upload survives a truncated source and a failing OSS', async t => {
  const b = await bench(t)
  const left = await leave(t, b)
  const cut = b.spool.upload(KEY, () => createReadStream(left.file, { end: 3 * PART }), {
    checkpoint: left.checkpoint,
  })
  await t.rejects(cut, { code: 'ERR_SPOOL_EXPECTATION' })
  const down = { do: 'answer', status: 500, times: 'always' } as const
  b.oss.inject({ ...down, operation: 'CompleteMultipartUpload' })
  await t.rejects(go(b, left), { code: 'ERR_SPOOL_UPLOAD_FAILED', resumable: true })
  b.oss.clearFaults()
  const [{ id } = { id: '' }] = await b.spool.uploads()
  const { size } = await b.another().resume(id) // our own checkpoint is sufficient
  t.equal(size, SIZE)
  t.equal(sentParts(b), PARTS - 4)
  t.same(await b.get(KEY), left.data)
})

t.test(
  'an imported upload detects success after a lost reply to Complete without a token',
  async t => {
    const b = await bench(t)
    const left = await leave(t, b)
    b.oss.inject({ operation: 'CompleteMultipartUpload', do: 'reset', at: 'done' })
    t.match(await go(b, left), { size: SIZE })
    t.equal(b.oss.requests.filter(r => r.operation === 'CompleteMultipartUpload').length, 1)
    t.same(await b.get(KEY), left.data)
  },
)

t.test("an imported upload does not mistake someone else's object for its own", async t => {
  const b = await bench(t)
  const left = await leave(t, b)
  const complete = { operation: 'CompleteMultipartUpload' } as const
  const held = b.oss.inject({ ...complete, do: 'hang', at: 'received' })
  const running = go(b, left)
  await held.hit()
  const client = new OSS(b.oss.clientOptions(BUCKET))
  await client.abortMultipartUpload(KEY, left.checkpoint.uploadId)
  await client.put(KEY, Buffer.from('theirs'))
  held.release()
  await t.rejects(running, { code: 'ERR_SPOOL_OBJECT_EXISTS' })
  t.same(await b.get(KEY), Buffer.from('theirs'))
})

t.test('upload() rejects an ali-oss checkpoint if the size of the file changed', async t => {
  const b = await bench(t)
  const left = await leave(t, b)
  for (const size of [SIZE - 1, SIZE + 1]) {
    await writeFile(left.file, bytes(size))
    await t.rejects(go(b, left), { code: 'ERR_SPOOL_EXPECTATION', resumable: false })
  }
  t.equal(await b.get(KEY), undefined)
})

t.test('an imported upload sends the parts again whose content changed', async t => {
  const b = await bench(t)
  const left = await leave(t, b)
  const changed = Buffer.from(left.data)
  changed.fill(0, PART, 2 * PART)
  await writeFile(left.file, changed)
  t.match(await go(b, left), { skipped: 3 * PART })
  t.same(await b.get(KEY), changed)
})

t.test('an imported upload resends no part if only the mtime of the file changed', async t => {
  const b = await bench(t)
  const left = await leave(t, b)
  await rm(left.file)
  await writeFile(left.file, left.data)
  t.match(await go(b, left), { skipped: 4 * PART })
})

t.test(
  'an imported upload sends everything under a new upload id if the old one is gone',
  async t => {
    const b = await bench(t)
    const left = await leave(t, b)
    const client = new OSS(b.oss.clientOptions(BUCKET))
    await client.abortMultipartUpload(KEY, left.checkpoint.uploadId)
    b.oss.inject({ operation: 'CompleteMultipartUpload', do: 'reset', at: 'done' })
    t.match(await go(b, left, { meta: { camera: 'left' } }), { sent: SIZE, skipped: 0 })
    t.same(await b.get(KEY), left.data)
    const { meta } = await client.head(KEY)
    t.match(meta, { camera: 'left', 'oss-spool-token': /-/ })
    t.equal(b.oss.requests.filter(r => r.operation === 'CompleteMultipartUpload').length, 1)
  },
)

t.test('an imported upload sends nothing if the first program has completed it', async t => {
  const b = await bench(t)
  const left = await leave(t, b)
  const client = new OSS(b.oss.clientOptions(BUCKET))
  const checkpoint = structuredClone(left.checkpoint)
  await client.multipartUpload(KEY, left.file, { checkpoint } as OSS.MultipartUploadOptions)
  b.oss.requests.length = 0
  t.match(await go(b, left, { start: 'sealed' }), { size: SIZE, sent: 0 })
  t.equal(sentParts(b), 0)
})

t.test('an imported upload of a single part uses PutObject and aborts the upload id', async t => {
  const b = await bench(t)
  const left = await leave(t, b)
  const client = new OSS(b.oss.clientOptions(BUCKET))
  await client.abortMultipartUpload(KEY, left.checkpoint.uploadId)
  const { uploadId } = await client.initMultipartUpload(KEY)
  b.oss.inject({ operation: 'PutObject', do: 'reset', at: 'done' })
  const checkpoint = { ...left.checkpoint, uploadId, partSize: 2 * SIZE, doneParts: [] }
  t.match(await go(b, { ...left, checkpoint }), { size: SIZE, parts: 1 })
  t.equal(b.count('PutObject') + b.count('HeadObject'), 1, 'success is detected by the token')
  t.same((await client.listUploads({ 'max-uploads': 10 }, {})).uploads ?? [], [])
})

t.test('upload() rejects an invalid checkpoint or one of another key before any I/O', async t => {
  const b = await bench(t)
  const left = await leave(t, b, `//${KEY}`) // ali-oss strips leading slashes
  const of = (checkpoint: unknown, more: UploadOptions = {}): Promise<UploadResult> =>
    go(b, { ...left, checkpoint: checkpoint as AliOssCheckpoint }, more)
  const type = { name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' }
  const value = { name: 'TypeError', code: 'ERR_INVALID_ARG_VALUE' }
  const range = { name: 'RangeError', code: 'ERR_OUT_OF_RANGE' }
  b.oss.requests.length = 0
  await t.rejects(of({ ...left.checkpoint, name: 'other.mp4' }), value)
  await t.rejects(of(null), type)
  await t.rejects(of('{}'), type)
  await t.rejects(of({}), type)
  await t.rejects(of({ ...left.checkpoint, uploadId: '' }), type)
  await t.rejects(of({ ...left.checkpoint, partSize: undefined }), type)
  await t.rejects(of({ ...left.checkpoint, partSize: 1 }), range)
  await t.rejects(of({ ...left.checkpoint, fileSize: -1 }), range)
  await t.rejects(of({ ...left.checkpoint, fileSize: undefined }), type)
  await t.rejects(of(left.checkpoint, { size: 3 }), value)
  t.same(b.oss.requests, [])
  t.match(await of(left.checkpoint, { size: SIZE }), { skipped: 4 * PART })
})
