/** The emulator's data on disk after a restart, after SIGKILL, shared by several processes, and with any key. */
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { startEmulator } from '../../src/emulator/index.js'
import { fileSpansOf } from '../../src/emulator/store/stored-body.js'
import { keyFileName, keyOfFileName } from '../../src/emulator/store/layout.js'
import { createRunExclusive } from '../../src/emulator/store/lock.js'
import { newBucket } from '../../src/emulator/operations/bucket.js'
import { upTo } from '../../src/emulator/operations/receive-body.js'
import { readStoredParts, storePart } from '../../src/emulator/store/parts.js'
import type { ObjectRecord } from '../../src/emulator/store/record.js'
import { openStore } from '../../src/emulator/store/store.js'
import { aliOss, rejects, type Client } from './clients.js'
import { long } from '../support/long.js'
import { pathOf } from '../support/project.js'

const PART = randomBytes(102_400)

/** Lists all files below a directory, relative to it. */
const filesIn = (dir: string): string[] =>
  readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter(entry => entry.isFile())
    .map(entry => join(entry.parentPath, entry.name).slice(dir.length + 1))

/** Lists the unfinished files of live processes. */
const temporaryFiles = (dir: string): string[] =>
  readdirSync(join(dir, 'tmp')).flatMap(owner =>
    readdirSync(join(dir, 'tmp', owner)).filter(name => name !== 'lock'),
  )

const upload = async (client: Client, key: string, parts: number) => {
  const { uploadId } = await client.initMultipartUpload(key)
  const done = []
  for (let number = 1; number <= parts; number++) {
    const { etag } = await client.uploadPart(key, uploadId, number, PART, 0, PART.length)
    done.push({ number, etag })
  }
  return { uploadId, done }
}

t.test('buckets, objects, uploads and tokens survive a restart', async t => {
  const dir = t.testdir()
  const first = await startEmulator({ dir, buckets: ['bkt'] })
  const one = aliOss(first, 'bkt')
  await one.putBucketACL('bkt', 'public-read')
  await one.put('k', PART, { meta: { a: 'b' } })
  const { uploadId, done } = await upload(one, 'm', 2)
  const token = first.sts.issue()
  await first.close()
  t.same(readdirSync(join(dir, 'tmp')), [], 'no temporary file is left')

  const second = await startEmulator({ dir })
  t.teardown(() => second.close())
  const two = aliOss(second, 'bkt')
  t.equal((await two.getBucketACL('bkt')).acl, 'public-read')
  t.same((await two.head('k')).meta, { a: 'b' })
  t.ok(PART.equals((await two.get('k')).content))
  t.equal((await two.listParts('m', uploadId)).parts.length, 2)
  await two.completeMultipartUpload('m', uploadId, done)
  t.ok(Buffer.concat([PART, PART]).equals((await two.get('m')).content))
  const refresh = { refreshSTSToken: () => Promise.resolve(token), refreshSTSTokenInterval: 1e9 }
  t.equal((await aliOss(second, 'bkt', { ...token, ...refresh }).head('k')).status, 200)
})

t.test('replaced, deleted and aborted objects leave no files', async t => {
  const dir = t.testdir()
  const oss = await startEmulator({ dir, buckets: ['bkt'] })
  t.teardown(() => oss.close())
  const client = aliOss(oss, 'bkt')
  const bodies = () => filesIn(join(dir, 'buckets/bkt')).filter(f => !f.endsWith('.json'))
  await client.put('k', PART)
  await client.put('k', PART)
  t.equal(bodies().length, 1)
  const spare = await upload(client, 'k', 3)
  await client.uploadPart('k', spare.uploadId, 2, PART, 0, PART.length)
  await client.completeMultipartUpload('k', spare.uploadId, spare.done.slice(0, 2))
  t.equal(bodies().length, 2, 'two of three parts are left, the old body is removed')
  await client.copy('copy', 'k')
  await client.delete('k')
  t.ok(Buffer.concat([PART, PART]).equals((await client.get('copy')).content))
  await client.delete('copy')
  const gone = await upload(client, 'gone', 2)
  await client.abortMultipartUpload('gone', gone.uploadId)
  t.same(filesIn(join(dir, 'buckets/bkt')), ['bucket.json'])
  await client.deleteBucket('bkt')
  t.same(readdirSync(join(dir, 'buckets')), [])

  await client.putBucket('bkt')
  const broken = client.put('broken', PART)
  oss.inject({ do: 'reset', at: 'body', operation: 'PutObject' })
  await rejects(t, broken)
  await client.list({})
  t.same(filesIn(join(dir, 'buckets/bkt')), ['bucket.json'], 'an incomplete PUT leaves no file')
})

t.test('an object overwritten while it is read is returned in its old version', async t => {
  const oss = await startEmulator({ buckets: ['bkt'] })
  t.teardown(() => oss.close())
  const client = aliOss(oss, 'bkt')
  const old = randomBytes(3_000_000)
  await client.put('k', old)
  oss.inject({ operation: 'GetObject', do: 'hang', at: 'reply' })
  const fault = oss.inject({ operation: 'GetObject', do: 'delay', ms: 1, at: 'reply' })
  const get = client.get('k')
  await fault.hit(0)
  while (!oss.requests.some(r => r.operation === 'GetObject' && r.sent > 0))
    await new Promise(resolve => setTimeout(resolve, 5))
  await client.put('k', PART)
  oss.clearFaults()
  t.ok(old.equals((await get).content), 'the reader gets the old bytes')
  t.ok(PART.equals((await client.get('k')).content))
})

t.test('unfinished steps of a killed process are repaired on start', async t => {
  const dir = t.testdir()
  const first = await startEmulator({ dir, buckets: ['bkt', 'half'] })
  const one = aliOss(first, 'bkt')
  const { uploadId, done } = await upload(one, 'm', 2)
  await one.completeMultipartUpload('m', uploadId, done)
  await one.put('k', PART)
  await first.close()

  // as if killed between writing the object's record and moving its parts, ...
  const bucket = join(dir, 'buckets/bkt')
  renameSync(join(bucket, 'objects/m.object', uploadId), join(bucket, 'uploads', uploadId))
  // ... with a new body for "k" in place but not its record, ...
  writeFileSync(join(bucket, 'objects/k.object/body-new'), 'unfinished')
  // ... with a first body of "n", and with a request in progress
  mkdirSync(join(bucket, 'objects/n.object'))
  writeFileSync(join(bucket, 'objects/n.object/body-new'), 'unfinished')
  mkdirSync(join(dir, 'tmp/dead'))
  writeFileSync(join(dir, 'tmp/dead/lock'), '')
  writeFileSync(join(dir, 'tmp/dead/1'), 'half')
  // ... with a bucket that was about to be removed
  rmdirSync(join(dir, 'buckets/half/objects'))
  // and as if another process was just starting
  mkdirSync(join(dir, 'tmp/new-starting'))

  const lenient = await startEmulator({ dir })
  t.teardown(() => lenient.close())
  const two = aliOss(lenient, 'bkt')
  t.same((await two.listUploads({ 'max-uploads': 9 })).uploads, [], 'the upload is completed')
  await rejects(t, two.completeMultipartUpload('m', uploadId, done), { code: 'NoSuchUpload' })
  t.ok(Buffer.concat([PART, PART]).equals((await two.get('m')).content))
  t.ok(PART.equals((await two.get('k')).content))
  t.same(
    (await two.list({})).objects.map((o: Client) => o.name),
    ['k', 'm'],
  )
  t.same(readdirSync(join(bucket, 'uploads')), [])
  t.equal(filesIn(bucket).filter(f => f.endsWith('body-new')).length, 0)
  t.notOk(existsSync(join(dir, 'tmp/dead')))
  t.ok(existsSync(join(dir, 'tmp/new-starting')))
  const half = aliOss(lenient, 'half')
  await half.put('k', PART)
  t.ok(PART.equals((await half.get('k')).content), 'the bucket is whole')
})

t.test('a request whose bucket is deleted meanwhile is 404 NoSuchBucket', async t => {
  const dir = t.testdir()
  const oss = await startEmulator({ dir, buckets: ['bkt'] })
  t.teardown(() => oss.close())
  const client = aliOss(oss, 'bkt')
  const calls = {
    PutObject: () => client.put('k', PART),
    AppendObject: () => client.append('log', PART),
    InitiateMultipartUpload: () => client.initMultipartUpload('m'),
  } as const
  for (const operation of ['PutObject', 'AppendObject', 'InitiateMultipartUpload'] as const) {
    await client.putBucket('bkt')
    const hang = oss.inject({ operation, do: 'hang', at: 'received' })
    const call = calls[operation]()
    await hang.hit()
    await client.deleteBucket('bkt')
    hang.release()
    await rejects(t, call, { status: 404, code: 'NoSuchBucket' })
  }
  t.same(temporaryFiles(dir), [])
  t.same(readdirSync(join(dir, 'buckets')), [])
})

t.test('what is refused or fails leaves no bytes', async t => {
  t.test('a copy', async t => {
    const dir = t.testdir()
    const oss = await startEmulator({ dir, buckets: ['bkt'] })
    t.teardown(() => oss.close())
    const client = aliOss(oss, 'bkt')
    await client.put('k', PART)
    const { uploadId, done } = await upload(client, 'm', 2)
    await client.completeMultipartUpload('m', uploadId, done)
    const headers = { 'x-oss-forbid-overwrite': 'true' }
    for (const source of ['k', 'm'])
      await rejects(t, client.copy('k', source, { headers }), { code: 'FileAlreadyExists' })
    t.same(temporaryFiles(dir), [])
  })

  t.test('an object whose record cannot be written', async t => {
    const dir = t.testdir()
    const store = await openStore(dir)
    t.teardown(() => store.close())
    await store.buckets.ensure(newBucket('bkt', Date.now()))
    const put = (key: string, content: string, meta: ObjectRecord['meta'] = {}) => {
      const path = store.tempPath()
      writeFileSync(path, content)
      return store.objects.put('bkt', key, { kind: 'file', path }, () => ({
        key,
        type: 'Normal',
        size: content.length,
        etag: 'A',
        modified: '2026-01-01T00:00:00.000Z',
        headers: {},
        meta,
        storageClass: 'Standard',
        acl: 'default',
        tags: [],
      }))
    }
    const unwritable = {
      get name(): string {
        throw new Error('the disk is full')
      },
    }
    const old = await put('old', 'bytes')
    for (const key of ['old', 'new']) await t.rejects(put(key, 'others', unwritable))
    t.same(filesIn(join(dir, 'buckets/bkt/objects')).length, 2, 'a record and its body')
    t.same(await store.objects.get('bkt', 'old'), old)
    const stream = await store.objects.read('bkt', old, { offset: 0, length: 5 })
    t.equal(Buffer.concat(await (stream?.toArray() ?? [])).toString(), 'bytes')
    await store.objects.remove('bkt', 'old', 'null')
    t.equal(await store.buckets.remove('bkt'), true, 'the bucket is empty')
  })

  t.test('a body of unknown length, once it is too large', async t => {
    let sent = 0
    async function* endless() {
      for (;;) {
        sent++
        yield PART
      }
    }
    const passed: Uint8Array[] = []
    const receive = async () => {
      for await (const chunk of upTo(3 * PART.length, endless())) passed.push(chunk)
    }
    await rejects(t, receive(), { code: 'EntityTooLarge' })
    t.same([passed.length, sent], [3, 4])
  })
})

t.test('the parts of an upload that ends while they are listed are not an empty list', async t => {
  const store = await openStore(t.testdir())
  t.teardown(() => store.close())
  await store.buckets.ensure(newBucket('bkt', Date.now()))
  const upload = await store.uploads.create('bkt', {
    key: 'k',
    initiated: '2026-01-01T00:00:00.000Z',
    sequential: false,
    headers: {},
    meta: {},
    storageClass: 'Standard',
    acl: 'default',
    tags: [],
  })
  t.same(await store.uploads.listParts('bkt', upload), [])
  await store.uploads.abort('bkt', upload)
  t.equal(await store.uploads.listParts('bkt', upload), undefined)
})

t.test('parts are copied from an object that is replaced at the same time', async t => {
  const oss = await startEmulator({ buckets: ['bkt'] })
  t.teardown(() => oss.close())
  const client = aliOss(oss, 'bkt')
  await client.put('k', PART)
  const { uploadId } = await client.initMultipartUpload('m')
  const copied = new AbortController()
  const replace = async () => {
    while (!copied.signal.aborted) await client.put('k', PART)
  }
  const replaced = Promise.all([replace(), replace()])
  const source = { sourceKey: 'k', sourceBucketName: 'bkt' }
  for (let number = 1; number <= 50; number++)
    await client.uploadPartCopy('m', uploadId, number, `0-${PART.length - 1}`, source)
  copied.abort()
  await replaced
  t.equal((await client.listParts('m', uploadId)).parts.length, 50)
})

t.test('a completed object whose parts were not moved yet can be read and replaced', async t => {
  const dir = t.testdir()
  const oss = await startEmulator({ dir, buckets: ['bkt'] })
  t.teardown(() => oss.close())
  const client = aliOss(oss, 'bkt')
  const { uploadId, done } = await upload(client, 'm', 1)
  await client.completeMultipartUpload('m', uploadId, done)
  const bucket = join(dir, 'buckets/bkt')
  renameSync(join(bucket, 'objects/m.object', uploadId), join(bucket, 'uploads', uploadId))
  t.ok(PART.equals((await client.get('m')).content))
  await rejects(t, client.listParts('m', uploadId), { code: 'NoSuchUpload' })
  await client.put('m', Buffer.from('new'))
  t.equal((await client.get('m')).content.toString(), 'new')
  t.same(readdirSync(join(bucket, 'uploads')), [])
})

t.test('an object whose parts are moved while it is read is returned whole', async t => {
  const dir = t.testdir()
  const oss = await startEmulator({ dir, buckets: ['bkt'] })
  t.teardown(() => oss.close())
  const client = aliOss(oss, 'bkt')
  const parts = 100 // more than the buffers of a connection hold
  const { uploadId, done } = await upload(client, 'm', parts)
  await client.completeMultipartUpload('m', uploadId, done)
  const bucket = join(dir, 'buckets/bkt')
  const moved = join(bucket, 'objects/m.object', uploadId)
  renameSync(moved, join(bucket, 'uploads', uploadId))
  const { stream } = await client.getStream('m')
  let bytes = 0
  for await (const chunk of stream) {
    if (bytes === 0) renameSync(join(bucket, 'uploads', uploadId), moved)
    bytes += chunk.length
  }
  t.equal(bytes, parts * PART.length)
})

void long(t, 'several processes share one directory, even if one of them is killed', async t => {
  const dir = t.testdir()
  const here = await startEmulator({ dir, createBuckets: true })
  t.teardown(() => here.close())
  const script = fileURLToPath(new URL('./emulator-process.js', import.meta.url))
  const child = spawn(process.execPath, [script, dir], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const [line] = (await once(child.stdout, 'data')) as [Buffer]
  const [port, admin] = line.toString().trim().split(' ')
  const near = aliOss(here, 'bkt')
  const far = aliOss(here, 'bkt', { endpoint: `http://127.0.0.1:${port}`, timeout: 10_000 })

  await far.put('k', PART)
  t.ok(PART.equals((await near.get('k')).content), 'one process reads what the other stored')
  const { uploadId, done } = await upload(near, 'm', 2)
  await far.completeMultipartUpload('m', uploadId, done)
  await rejects(t, near.listParts('m', uploadId), { code: 'NoSuchUpload' })

  // concurrent appends: each position is accepted once
  let length = 0
  await Promise.all(
    [near, far, near, far].map(async client => {
      for (let i = 0; i < 15; i++) {
        const position = await client.getObjectMeta('log').then(
          (r: Client) => Number(r.res.headers['content-length']),
          () => 0,
        )
        const appended = await client.append('log', Buffer.from('12345'), { position }).then(
          () => true,
          () => false,
        )
        if (appended) length += 5
      }
    }),
  )
  const log = await near.get('log')
  t.equal(log.content.toString(), '12345'.repeat(length / 5))

  // concurrent puts: a read returns one whole body
  const bodies = ['a', 'b', 'c', 'd'].map(c => Buffer.alloc(50_000, c))
  await Promise.all(
    bodies.map(async (body, i) => {
      for (let n = 0; n < 10; n++) {
        await (i % 2 ? near : far).put('race', body)
        const { content } = await (i % 2 ? far : near).get('race')
        if (!bodies.some(b => b.equals(content))) t.fail('a read returned a mixture of two bodies')
      }
    }),
  )

  const hang = { operation: 'PutObject', do: 'hang', at: 'received' }
  const posted = await fetch(`${admin}/faults`, { method: 'POST', body: JSON.stringify(hang) })
  const { id } = (await posted.json()) as Client
  const put = far.put('never', PART)
  put.catch(() => undefined)
  await fetch(`${admin}/faults/${id}?hits=1`)
  child.kill('SIGKILL')
  await once(child, 'exit')
  await t.rejects(put)
  await rejects(t, near.head('never'), { status: 404 })
  t.equal(
    readdirSync(join(dir, 'tmp')).length,
    2,
    'the temporary directory of the killed process is still there',
  )
  const third = await startEmulator({ dir })
  t.equal(readdirSync(join(dir, 'tmp')).length, 2, 'the next process to start removes it')
  await third.close()
  t.ok(PART.equals((await near.get('k')).content))
  await near.put('k', Buffer.from('written after the owner of the lock was killed'))
})

t.test('keys are mapped to safe, reversible file names', async t => {
  for (const key of [
    'a/b',
    '..',
    '.',
    'A',
    'a',
    'ü',
    '%2f',
    '~x',
    'con',
    `${'k'.repeat(190)}.`,
    '\u0000',
  ])
    t.equal(keyOfFileName(keyFileName(key)), key)
  const long = 'ü'.repeat(511)
  t.equal(keyOfFileName(keyFileName(long)), undefined)
  for (const key of [long, '../../etc/passwd', 'x'.repeat(1023), '/'])
    t.match(keyFileName(key), /^[a-z0-9_.%~-]{1,210}\.object$/)

  const dir = t.testdir()
  const oss = await startEmulator({ dir: join(dir, 'data'), buckets: ['bkt'] })
  t.teardown(() => oss.close())
  const client = aliOss(oss, 'bkt')
  for (const key of [long, 'x'.repeat(1023), 'a\u0001b', '~'])
    await client.put(key, Buffer.from(key))
  for (const key of [long, 'x'.repeat(1023), '~'])
    t.equal((await client.get(key)).content.toString(), key)
  t.same(
    (await client.list({ 'max-keys': 9, prefix: 'ü' })).objects.map((o: Client) => o.name),
    [long],
  )
  await client.copy('copy', long)
  const { uploadId, done } = await upload(client, long, 1)
  await client.completeMultipartUpload(long, uploadId, done)
  t.same(readdirSync(dir), ['data'])
  t.match(
    readFileSync(join(dir, 'data/buckets/bkt/objects/copy.object/record.json'), 'utf8'),
    /"key":"copy"/,
  )
})

t.test('stored parts are listed in order, with only the newest of each number', async t => {
  const dir = t.testdir()
  const digest = { size: 1, md5: 'A'.repeat(32), crc64: 7n }
  const put = async (number: number, md5: string) => {
    writeFileSync(join(dir, 'temp'), 'x')
    return storePart(dir, number, join(dir, 'temp'), { ...digest, md5 })
  }
  await put(100, 'A'.repeat(32))
  await put(99, 'A'.repeat(32))
  const newest = await put(99, 'B'.repeat(32))
  // an older file of the same part that was not removed yet
  const left = newest.file.replace(/-\d{16}-(\d+)-B+/, `-0000000000000001-$1-${'C'.repeat(32)}`)
  writeFileSync(join(dir, left), 'x')
  const parts = await readStoredParts(dir)
  t.same(
    parts.map(part => [part.number, part.md5[0], part.crc64]),
    [
      [99, 'B', 7n],
      [100, 'A', 7n],
    ],
  )
  t.same(
    fileSpansOf(
      [
        ['a', 10],
        ['b', 0],
        ['c', 5],
      ],
      { offset: 8, length: 4 },
    ),
    [
      { file: 'a', offset: 8, length: 2 },
      { file: 'c', offset: 0, length: 2 },
    ],
  )
})

t.test(
  'createRunExclusive serialises callbacks of two instances, even after a failure',
  async t => {
    const dir = t.testdir()
    const [one, two] = [createRunExclusive(dir), createRunExclusive(dir)]
    let inside = 0
    const work = async () => {
      t.equal(++inside, 1)
      await new Promise(resolve => setTimeout(resolve, 3))
      inside--
    }
    await Promise.all([one('x', work), two('x', work), one('x', work), two('x', work)])
    await t.rejects(one('x', () => Promise.reject(new Error('no'))))
    await one('x', work)
  },
)

void long(t, 'an upload of 10,000 parts is listed in pages and completed', async t => {
  const dir = t.testdir()
  const oss = await startEmulator({ dir, buckets: ['bkt'] })
  t.teardown(() => oss.close())
  const client = aliOss(oss, 'bkt')
  const { uploadId, done } = await upload(client, 'many', 1)
  // the other 9,999 parts are hard links, since sending them one by one would be too slow
  const shards = join(dir, 'buckets/bkt/uploads', uploadId)
  const [name = ''] = readdirSync(join(shards, '000'))
  const { linkSync } = await import('node:fs')
  for (let number = 2; number <= 10_000; number++) {
    const digits = String(number).padStart(5, '0')
    const shard = String(Math.floor(number / 100)).padStart(3, '0')
    mkdirSync(join(shards, shard), { recursive: true })
    linkSync(join(shards, '000', name), join(shards, shard, name.replace(/^\d{5}/, digits)))
  }
  const all = Array.from({ length: 10_000 }, (_, i) => ({ number: i + 1, etag: done[0]?.etag }))
  const pages: number[] = []
  for (let marker = '0'; ;) {
    const listed = await client.listParts('many', uploadId, { 'part-number-marker': marker })
    pages.push(listed.parts.length)
    marker = listed.nextPartNumberMarker
    if (listed.isTruncated === 'false') break
  }
  t.same(
    pages,
    Array.from({ length: 10 }, () => 1000),
  )
  const before = process.memoryUsage().rss
  const start = performance.now()
  const result = await client.completeMultipartUpload('many', uploadId, all)
  const ms = performance.now() - start
  t.match(result.etag, /-10000"$/)
  t.comment(
    `complete of 10,000 parts: ${ms.toFixed()} ms, RSS +${((process.memoryUsage().rss - before) / 2 ** 20).toFixed()} MiB`,
  )
  t.equal((await client.head('many')).res.headers['content-length'], String(10_000 * 102_400))
  const { content } = await client.get('many', { headers: { Range: 'bytes=512000000-512000099' } })
  t.ok(PART.subarray(0, 100).equals(content))
})

t.test('heavy.mjs parses', async t => {
  const script = pathOf('test/emulator/heavy.mjs')
  const [code] = await once(
    spawn(process.execPath, ['--check', script], { stdio: 'inherit' }),
    'exit',
  )
  t.equal(code, 0)
})
