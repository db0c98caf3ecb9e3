/**
 * Streams larger than `maxSpoolBytes`. Disk usage stays below the bound, the source waits for the network,
 * and a freed part is never sent from the hole in the temp file.
 */
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { createReadStream, existsSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { open, readdir, readFile, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import OSS from 'ali-oss'
import t from 'tap'
import { decodeCheckpoint, type Checkpoint } from '../../src/disk/checkpoint.js'
import { Spool, type SpoolError, type UploadOptions } from '../../src/index.js'
import { keptPlaceOf } from '../../src/upload/model/destination.js'
import { hasFreedParts } from '../../src/upload/model/freed-parts.js'
import { checkOptions } from '../../src/upload/model/options.js'
import { sampled } from '../support/long.js'
import { bench, BUCKET, bytes, failingAfter, streamOf, type Bench } from '../support/oss.js'
import { tinyDisk } from '../support/tiny-disk.js'

const PART = 102_400
/** Space for four parts, of which three are in flight and one is being filled. */
const BOUND = 4 * PART
const BOUNDED = { maxSpoolBytes: BOUND, parallel: 3 }
const BLOCK = 4096

/** Returns the disk space taken by the temp files of an upload, and their total size including holes. */
function onDisk(dir: string, id: string): { taken: number; size: number } {
  const seen = { taken: 0, size: 0 }
  const names = readdirSync(join(dir, id)).filter(name => name.startsWith('spool-'))
  for (const name of names) {
    const { blocks, size } = statSync(join(dir, id, name))
    seen.taken += blocks * 512
    seen.size += size
  }
  return seen
}

async function checkpointOf(dir: string, id: string): Promise<Checkpoint> {
  return decodeCheckpoint(await readFile(join(dir, id, 'checkpoint.json'), 'utf8'))
}

/** Returns a spool whose uploads are bounded. */
function bounded(b: Bench, more: UploadOptions = {}): Spool {
  return b.another({ ...BOUNDED, ...more })
}

/** Leaves a sealed upload with freed parts and without part `part` on OSS. Resolves with its checkpoint. */
async function sealedButFor(b: Bench, part: number, data: Buffer, more: UploadOptions = {}) {
  const fault = b.oss.inject({
    operation: 'UploadPart',
    partNumber: part,
    do: 'answer',
    status: 403,
    code: 'AccessDenied',
    times: 'always',
  })
  const sink = bounded(b, more).createWriteStream('k', { id: 'k' })
  await t.rejects(pipeline(streamOf(data), sink), { code: 'ERR_SPOOL_DENIED', resumable: true })
  fault.remove()
  const checkpoint = await checkpointOf(b.dir, 'k')
  t.equal(checkpoint.upload.phase, 'sealed')
  t.ok(hasFreedParts(checkpoint.upload), 'at least one part was freed')
  return checkpoint
}

t.test(
  'a bounded spool never exceeds its limit on disk and uploads the stream unchanged',
  async t => {
    for (const odd of sampled(t, [0, 1], 2)) {
      const b = await bench(t, { spool: { partSize: PART + odd } })
      b.oss.link = { latency: 2 }
      const data = bytes(40 * PART + 7)
      const spool = bounded(b, { maxSpoolBytes: BOUND + 4 * odd })
      const sink = spool.createWriteStream('k', { id: 'k' })
      let most = 0
      let holes = 0
      // Measured at each chunk of the source. Progress events are too rare in an upload as short as this.
      const look = (): void => {
        if (!existsSync(join(b.dir, 'k'))) return
        const { taken, size } = onDisk(b.dir, 'k')
        most = Math.max(most, taken)
        holes = Math.max(holes, size - taken)
      }
      const source = function* (): Generator<Buffer> {
        for (let at = 0; at < data.length; at += 10_000) {
          look()
          yield data.subarray(at, at + 10_000)
        }
        look()
      }
      const chunks = Readable.from(source(), { objectMode: false })
      const [result] = await Promise.all([sink.result, pipeline(chunks, sink)])
      t.match(result, { size: data.length, parts: 41 - odd, sent: data.length })
      t.same(await b.get('k'), data)
      t.ok(most <= BOUND + 8 * BLOCK, `${most} of ${BOUND} bytes`)
      t.ok(holes > 20 * PART, `${holes} bytes were freed`)
      t.same(await readdir(b.dir), [], 'the spool directory is empty')
    }
  },
)

t.test('a bounded stream that fits survives the loss of its upload id', async t => {
  const b = await bench(t)
  const data = bytes(3 * PART + 5)
  const fault = b.oss.inject({ operation: 'UploadPart', partNumber: 3, do: 'drop-upload' })
  const spool = bounded(b)
  const result = await spool.upload('k', () => streamOf(data), { id: 'k' })
  t.ok(fault.hits > 0)
  t.equal(result.size, data.length)
  t.same(await b.get('k'), data)
})

t.test('a bounded spool pauses the source during an outage and resumes it afterwards', async t => {
  const b = await bench(t)
  const away = b.oss.inject({ do: 'reset', at: 'start', times: 'always' })
  const data = bytes(12 * PART)
  let given = 0
  const source = Readable.from(
    (function* () {
      for (; given < data.length; given += 10_000) yield data.subarray(given, given + 10_000)
    })(),
    { objectMode: false, highWaterMark: 1 },
  )
  const sink = bounded(b).createWriteStream('k', { id: 'k' })
  const done = pipeline(source, sink)
  await away.hit(30)
  const { taken } = onDisk(b.dir, 'k')
  t.equal(taken, BOUND, 'the spool is full')
  const before = given
  await away.hit(away.hits + 30)
  t.equal(given, before, 'the source waits')
  t.equal(onDisk(b.dir, 'k').taken, BOUND)
  t.match((await b.spool.uploads())[0], { phase: 'spooling' })
  away.remove()
  await done
  t.same(await b.get('k'), data)
})

t.test('a signal aborts a bounded upload whose source is paused', async t => {
  const b = await bench(t)
  const away = b.oss.inject({ do: 'reset', at: 'start', times: 'always' })
  const stop = new AbortController()
  const sink = bounded(b, { signal: stop.signal }).createWriteStream('k', { id: 'k' })
  const done = pipeline(streamOf(bytes(12 * PART)), sink)
  await away.hit(20)
  stop.abort()
  await t.rejects(done)
  await t.rejects(sink.result, { code: 'ERR_SPOOL_ABORTED', resumable: false })
})

t.test(
  'resume() with another `parallel` finishes a bounded upload from its freed and remaining parts',
  async t => {
    const b = await bench(t)
    const data = bytes(12 * PART + 3)
    const checkpoint = await sealedButFor(b, 11, data)
    t.equal(checkpoint.upload.uploadId !== undefined, true)
    const result = await b.another(BOUNDED).resume('k', { parallel: 50 })
    t.equal(result.sent, PART, 'only the missing part was sent')
    t.same(await b.get('k'), data)
    t.same(await readdir(b.dir), [])
  },
)

t.test('upload() checks the expectations of a sealed upload whose bytes are freed', async t => {
  const b = await bench(t)
  const data = bytes(12 * PART)
  const digest = (name: string): string => createHash(name).update(data).digest('hex')
  await sealedButFor(b, 11, data, { expect: { sha256: digest('sha256') } })
  const again = (expect: object) =>
    bounded(b).upload('k', () => t.fail('the source of a sealed upload was called') as never, {
      id: 'k',
      expect,
    })
  const miss = { code: 'ERR_SPOOL_EXPECTATION' }
  await t.rejects(again({ sha256: '0'.repeat(64) }), miss)
  await t.rejects(
    again({ md5: digest('md5') }),
    miss,
    'this digest was not computed while the bytes were available',
  )
  await again({ sha256: digest('sha256') })
  t.same(await b.get('k'), data)
})

const LOST = { code: 'ERR_SPOOL_UPLOAD_FAILED', resumable: false }

t.test('resume() fails if OSS loses freed parts, and upload() reads the source again', async t => {
  for (const [name, fault] of [
    ['the upload id', { do: 'drop-upload' }],
    ['a freed part', { do: 'drop-part', parts: [2] }],
  ] as const) {
    const b = await bench(t)
    const data = bytes(12 * PART)
    await sealedButFor(b, 11, data)
    b.oss.inject({ operation: 'ListParts', ...fault })
    await t.rejects(b.spool.resume('k'), LOST, name)
    t.equal(await b.get('k'), undefined, 'no object is published')
    t.match(await b.spool.uploads(), [{ phase: 'spooling' }])
    await t.rejects(b.spool.resume('k'), { code: 'ERR_SPOOL_UNSEALED', resumable: false })
    const { sourceRead } = await bounded(b).upload('k', () => streamOf(data), { id: 'k' })
    t.ok(sourceRead, 'upload() reads the source')
    t.same(await b.get('k'), data)
  }
})

t.test('resume() fails if Complete reports that a freed part is missing', async t => {
  const b = await bench(t)
  await sealedButFor(b, 11, bytes(12 * PART))
  b.oss.inject({ operation: 'CompleteMultipartUpload', do: 'drop-part', parts: [2] })
  await t.rejects(b.spool.resume('k'), LOST)
  t.equal(await b.get('k'), undefined)
})

t.test(
  "no use of force is proposed where someone else's object took the place of freed parts",
  async t => {
    const b = await bench(t, { spool: { retry: { attempts: 1 } } })
    b.oss.inject({ operation: 'CompleteMultipartUpload', do: 'reset', at: 'received' })
    const uploading = bounded(b).upload('k', () => streamOf(bytes(12 * PART)), { id: 'k' })
    await t.rejects(uploading, { code: 'ERR_SPOOL_UPLOAD_FAILED', resumable: true })
    const client = new OSS(b.oss.clientOptions(BUCKET))
    await client.put('k', bytes(77))
    for (const { uploadId } of (await client.listUploads({ 'max-uploads': 10 }, {})).uploads) {
      await client.abortMultipartUpload('k', uploadId)
    }
    const error = await b.spool.resume('k').then(
      () => Promise.reject(new Error('The upload did not fail')),
      (reason: unknown) => reason as SpoolError, // whose code is asserted below
    )
    t.match(error, { code: 'ERR_SPOOL_OBJECT_EXISTS', resumable: false, hint: "spool.abort('k')" })
    t.notMatch(error.hint, 'force')
    t.equal(keptPlaceOf(await checkpointOf(b.dir, 'k')), 'nowhere')
    await t.rejects(b.spool.resume('k', { force: true }), LOST)
  },
)

t.test('a wrong CRC64 in the reply to Complete is not resumable with freed parts', async t => {
  const b = await bench(t)
  await sealedButFor(b, 11, bytes(12 * PART))
  const headers = { 'x-oss-hash-crc64ecma': '1' }
  b.oss.inject({ operation: 'CompleteMultipartUpload', do: 'alter', headers })
  await t.rejects(b.spool.resume('k'), { code: 'ERR_SPOOL_VERIFY', resumable: false })
  await t.rejects(b.spool.resume('k'), { code: 'ERR_SPOOL_UNSEALED' })
})

t.test('an upload id is lost while the source of a bounded upload flows', async t => {
  const data = bytes(40 * PART)
  t.test('a bounded upload sends everything again if no part is freed yet', async t => {
    const b = await bench(t)
    b.oss.inject({ operation: 'UploadPart', partNumber: 1, do: 'drop-upload' })
    await pipeline(streamOf(data), bounded(b).createWriteStream('k'))
    t.same(await b.get('k'), data)
  })
  t.test('a bounded upload with freed parts stops its source and publishes nothing', async t => {
    const b = await bench(t)
    b.oss.inject({ operation: 'UploadPart', partNumber: 20, do: 'drop-upload' })
    let given = 0
    const source = Readable.from(
      (function* () {
        for (; given < data.length; given += 10_000) yield data.subarray(given, given + 10_000)
      })(),
      { objectMode: false },
    )
    await t.rejects(pipeline(source, bounded(b).createWriteStream('k', { id: 'k' })), LOST)
    t.ok(given < data.length, 'the source is not read to its end')
    t.equal(await b.get('k'), undefined)
    await bounded(b).upload('k', () => streamOf(data), { id: 'k' })
    t.same(await b.get('k'), data, 'the next call uses a new upload id')
  })
  t.test(
    'a bounded upload continues if the upload id still exists despite NoSuchUpload',
    async t => {
      const b = await bench(t)
      const code = 'NoSuchUpload'
      b.oss.inject({ operation: 'UploadPart', partNumber: 20, do: 'answer', status: 404, code })
      await pipeline(streamOf(data), bounded(b).createWriteStream('k'))
      t.same(await b.get('k'), data)
      t.equal(b.count('InitiateMultipartUpload'), 1)
    },
  )
})

t.test('upload() with replay: offset continues after the freed parts', async t => {
  const b = await bench(t)
  const data = bytes(30 * PART)
  const offset = { ...BOUNDED, replay: 'offset' as const, id: 'k' }
  const cut = async (at: number): Promise<void> => {
    const before = b.count('UploadPart')
    // Part 20 is sent once it is in the file, so by then all complete parts are.
    const parts = (): boolean => b.count('UploadPart') > before + 19
    const source = failingAfter(data.subarray(0, at), new Error('cut'), parts)
    const run = b.another().upload('k', () => source, offset)
    await t.rejects(run, { code: 'ERR_SPOOL_SOURCE_FAILED' })
    t.ok(hasFreedParts((await checkpointOf(b.dir, 'k')).upload))
  }
  await cut(20 * PART + 5000)
  let from = 0
  const again = (more: UploadOptions = {}) =>
    b
      .another()
      .upload('k', ({ offset: at }) => streamOf(data.subarray((from = at))), { ...offset, ...more })
  const result = await again()
  t.equal(from, 20 * PART, 'all complete parts were verified, on disk or on OSS')
  t.ok(result.sent <= 14 * PART, `${result.sent} bytes were sent`)
  t.same(await b.get('k'), data)

  t.test('replay: offset continues before the first freed part that OSS has lost', async t => {
    await cut(20 * PART + 5000)
    b.oss.inject({ operation: 'ListParts', do: 'drop-part', parts: [3] })
    await again()
    t.equal(from, 2 * PART)
    t.same(await b.get('k'), data)
  })
  t.test('replay: offset starts at 0 if the upload id is gone', async t => {
    await cut(20 * PART + 5000)
    b.oss.inject({ operation: 'ListParts', do: 'drop-upload' })
    await again()
    t.equal(from, 0)
    t.same(await b.get('k'), data)
  })
  t.test('replay: offset starts at 0 if an expectation requires hashing all bytes', async t => {
    await cut(20 * PART + 5000)
    await again({ expect: { sha256: createHash('sha256').update(data).digest('hex') } })
    t.equal(from, 0)
    t.same(await b.get('k'), data)
  })
})

t.test(
  'replay: offset publishes a source that ends with its first part, which is freed',
  async t => {
    const b = await bench(t)
    const data = bytes(2 * PART + 50)
    const spool = b.another({ maxSpoolBytes: 2 * PART, parallel: 1, replay: 'offset' })
    const source = failingAfter(data, new Error('cut'), () => b.count('UploadPart') >= 2)
    await t.rejects(
      spool.upload('k', () => source, { id: 'k' }),
      { code: 'ERR_SPOOL_SOURCE_FAILED' },
    )
    const { upload } = await checkpointOf(b.dir, 'k')
    t.same(upload.phase === 'spooling' && upload.freed, [[1, 1]])
    const file = await open(join(b.dir, 'k', upload.file), 'r+')
    await file.write(Buffer.alloc(100), 0, 100, PART) // the second part is damaged
    await file.close()
    const result = await spool.upload('k', ({ offset }) => streamOf(data.subarray(offset, PART)), {
      id: 'k',
    })
    t.match(result, { size: PART, sent: 0, parts: 1 })
    t.same(await b.get('k'), data.subarray(0, PART))
  },
)

t.test('a bounded stream over a sealed upload uses its own upload id', async t => {
  const b = await bench(t)
  const old = bytes(12 * PART)
  await sealedButFor(b, 11, old)
  // The common beginning is long enough that its parts would be freed if the streams shared an upload id.
  const data = Buffer.concat([old.subarray(0, 9 * PART), bytes(6 * PART)])
  await pipeline(streamOf(data), bounded(b).createWriteStream('k', { id: 'k' }))
  t.same(await b.get('k'), data)
  t.equal(b.count('AbortMultipartUpload') > 0, true, 'the old upload id is aborted')
})

t.test('maxSpoolBytes does not limit a file that is read in place', async t => {
  const b = await bench(t)
  const data = bytes(12 * PART)
  const inPlace = `${t.testdirName}-file`
  await writeFile(inPlace, data)
  t.teardown(() => rmSync(inPlace))
  b.oss.inject({ operation: 'UploadPart', partNumber: 9, do: 'drop-upload' })
  await bounded(b).upload('k', () => createReadStream(inPlace), { inPlace })
  t.same(await b.get('k'), data)
})

t.test('a bounded spool sends a short stream with one PutObject', async t => {
  const b = await bench(t)
  await pipeline(streamOf(bytes(PART)), bounded(b).createWriteStream('k'))
  t.equal(b.count('PutObject'), 1)
})

t.test('a bounded spool with start: first-part sends parts while spooling', async t => {
  const b = await bench(t)
  const data = bytes(40 * PART + 7)
  await pipeline(streamOf(data), bounded(b, { start: 'first-part' }).createWriteStream('k'))
  t.same(await b.get('k'), data)
})

t.test('abort() and prune() remove uploads with freed parts from disk and from OSS', async t => {
  for (const how of ['abort', 'prune'] as const) {
    const b = await bench(t)
    await sealedButFor(b, 11, bytes(12 * PART))
    await (how === 'abort' ? b.spool.abort('k') : b.spool.prune({ olderThan: 0, sealed: true }))
    t.same(await readdir(b.dir), [])
    t.ok(b.count('AbortMultipartUpload') > 0)
  }
})

t.test('invalid combinations with maxSpoolBytes are rejected before any I/O', async t => {
  const b = await bench(t)
  const open = (options: UploadOptions) => () => b.spool.createWriteStream('k', options)
  t.throws(open({ ...BOUNDED, start: 'sealed' }), TypeError)
  t.throws(open({ maxSpoolBytes: '1GiB' as never }), TypeError)
  t.throws(open({ maxSpoolBytes: 6 * PART - 1 }), RangeError, 'six parts of 100 KiB by default')
  t.throws(open({ maxSpoolBytes: BOUND, parallel: 4 }), RangeError)
  const largest = 10_000 * PART
  t.throws(open({ ...BOUNDED, size: largest + 1 }), RangeError)
  t.equal(checkOptions({ ...BOUNDED, size: largest }).maxPartSize, PART)
  t.equal(b.oss.requests.length, 0)
})

t.test('maxSpoolBytes fails with ERR_SPOOL_FULL on a full disk', async t => {
  const disk = tinyDisk(t) // with less space than the check for holes needs
  if (disk === undefined) return
  const b = await bench(t)
  const source = () => t.fail('the source was called') as never
  const uploading = b.another({ dir: disk.path }).upload('k', source, BOUNDED)
  await t.rejects(uploading, { code: 'ERR_SPOOL_FULL', resumable: false })
  t.same(await readdir(disk.path), [], 'the spool directory is empty')
})

t.test('maxSpoolBytes fails with ERR_SPOOL_NO_HOLES on a file system without holes', async t => {
  const dir = mkdtempSync(join(tmpdir(), 'oss-spool-ramfs-'))
  try {
    execFileSync('mount', ['-t', 'ramfs', 'ramfs', dir], { stdio: 'pipe' })
  } catch (error) {
    rmSync(dir, { recursive: true })
    t.pass(`a file system cannot be mounted here: ${String(error)}`, { skip: true })
    return
  }
  t.teardown(() => {
    execFileSync('umount', ['--lazy', dir])
    rmSync(dir, { recursive: true })
  })
  const b = await bench(t)
  const spool = b.another({ dir })
  const no = { code: 'ERR_SPOOL_NO_HOLES', resumable: false }
  const source = () => t.fail('the source was called') as never
  await t.rejects(spool.upload('k', source, { id: 'k', ...BOUNDED }), no)
  t.same(await readdir(dir), [], 'the spool directory is empty')
  t.equal(b.oss.requests.length, 0)
  await spool.upload('k', () => streamOf(bytes(5 * PART)))
  t.pass('an upload without maxSpoolBytes succeeds')
})
