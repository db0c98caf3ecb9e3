/** Uploads whose bytes are compressed on their way into the spool: what `put` and `run` use for `--gzip` and `--zstd`. */
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Duplex, PassThrough, Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import * as zlib from 'node:zlib'
import { gunzipSync, gzipSync } from 'node:zlib'
import * as fc from 'fast-check'
import t from 'tap'
import { crc64 } from '../../src/crc64.js'
import { decodeCheckpoint, type Checkpoint } from '../../src/disk/checkpoint.js'
import type { ProgressEvent, Spool, UploadResult } from '../../src/index.js'
import type { InternalUploadOptions } from '../../src/upload/model/options.js'
import {
  createDecompressor,
  isCompressionSupported,
  type Compression,
  type CompressionFormat,
} from '../../src/util/compression.js'
import { SourceCompressor } from '../../src/upload/spooling/source-compressor.js'
import { bench, bytes, sha256, streamOf, type Bench } from '../support/oss.js'
import { holds, randomOf } from '../support/seed.js'

const GZIP: Compression = { format: 'gzip', level: 6 }
const FORMATS: readonly CompressionFormat[] = ['gzip', 'zstd']
/** A reason to skip the tests of a format. */
const missing = (format: CompressionFormat): string | false =>
  !isCompressionSupported(format) && `Node ${process.version} has no ${format}`

/** Lines that compress well, and bytes that do not. */
function mixed(size: number): Buffer {
  const line = 'A line of a log, which is like the one before it.\n'
  return Buffer.concat([Buffer.alloc(size - (size >> 2), line), bytes(size >> 2)])
}

const never = (): never => {
  throw new Error('the source function was called')
}

function upload(
  spool: Spool,
  key: string,
  data: Buffer | (() => never),
  options: InternalUploadOptions,
): Promise<UploadResult> {
  return spool.upload(key, typeof data === 'function' ? data : () => streamOf(data), options)
}

/** Returns everything that a stream yields for `data`. */
async function through(stream: Duplex, data: Buffer): Promise<Buffer> {
  const chunks: Buffer[] = []
  stream.on('data', (chunk: Buffer) => chunks.push(chunk))
  await pipeline(streamOf(data), stream, new PassThrough().resume())
  return Buffer.concat(chunks)
}

async function decompressed(format: CompressionFormat, data: Buffer): Promise<Buffer> {
  const decompressor = createDecompressor(format)
  if (decompressor === undefined) throw new Error(`no ${format}`)
  return through(decompressor, data)
}

const refused = { do: 'answer', status: 403, code: 'AccessDenied', times: 'always' } as const

/** Seals an upload that OSS refuses. Returns its checkpoint. */
async function seal(b: Bench, data: Buffer, options: InternalUploadOptions): Promise<Checkpoint> {
  const operation = ['PutObject', 'CompleteMultipartUpload'] as const
  const fault = b.oss.inject({ operation: [...operation], ...refused })
  await upload(b.spool, 'key', data, { id: 'id', ...options }).then(
    () => {
      throw new Error('OSS refused nothing')
    },
    (error: { code: string; resumable: boolean }) => {
      if (error.code !== 'ERR_SPOOL_DENIED' || !error.resumable) throw error
    },
  )
  fault.remove()
  return decodeCheckpoint(readFileSync(join(b.dir, 'id', 'checkpoint.json'), 'utf8'))
}

for (const format of FORMATS) {
  t.test(
    `an object is the source in ${format}, of any size`,
    { skip: missing(format) },
    async t => {
      const b = await bench(t)
      for (const size of [0, 1, 70_000, 1_500_000]) {
        const data = mixed(size)
        const compression = { format }
        const key = `${size}.${format}`
        const result = await upload(b.spool, key, data, {
          compression,
          size,
          expect: { bytes: size },
        })
        const object = await b.get(key)
        t.ok(object !== undefined)
        if (object === undefined) continue
        t.same(await decompressed(format, object), data)
        t.match(result, { size: object.length, crc64: String(crc64(object)), sourceRead: size > 0 })
        t.equal(result.parts > 1, size === 1_500_000)
      }
      t.same(readdirSync(b.dir), [], 'nothing is left on the disk')
    },
  )

  t.test(
    `${format} output depends on the bytes alone, not on their chunks`,
    { skip: missing(format) },
    async t => {
      const random = randomOf(t)
      const data = mixed(700_000)
      const compressed = async (next: () => number): Promise<Buffer> => {
        const compressor = new SourceCompressor({ format }, {})
        const output: Buffer[] = []
        for (let at = 0; at < data.length;) {
          const end = at + next()
          output.push(...(await compressor.write([data.subarray(at, end), Buffer.alloc(0)])))
          at = end
        }
        output.push(...(await compressor.end()))
        t.match(compressor.describe(), { size: data.length, crc64: String(crc64(data)) })
        return Buffer.concat(output)
      }
      const whole = await compressed(() => data.length)
      for (const most of [997, 65_537, 400_000]) {
        t.same(await compressed(() => 1 + Math.floor(random() * most)), whole)
      }
    },
  )
}

t.test('parts that OSS has are not sent again when the source is read again', async t => {
  const b = await bench(t)
  const data = bytes(800_000)
  const options = { id: 'id', compression: GZIP }
  const failing = async function* () {
    yield data.subarray(0, 600_000)
    while (b.count('UploadPart') < 3) await new Promise(resolve => setTimeout(resolve, 5))
    throw new Error('source')
  }
  const failed = b.spool.upload('key', failing, options)
  await t.rejects(failed, { code: 'ERR_SPOOL_SOURCE_FAILED', resumable: false })
  const result = await upload(b.spool, 'key', data, options)
  t.ok(result.skipped >= 3 * 102_400)
  t.same(gunzipSync((await b.get('key')) ?? ''), data)
})

t.test('size and expect refer to the bytes of the source', async t => {
  const b = await bench(t)
  const data = mixed(100_000)
  const md5 = createHash('md5').update(data).digest('hex')
  const right = { bytes: data.length, md5, sha256: sha256(data), crc64: String(crc64(data)) }
  const packed = gzipSync(data)
  const wrong: readonly InternalUploadOptions[] = [
    { size: data.length + 1 },
    { size: data.length - 1 },
    { expect: { bytes: packed.length } },
    { expect: { md5: createHash('md5').update(packed).digest('hex') } },
    { expect: { sha256: sha256(packed) } },
    { expect: { crc64: '1' } },
  ]
  for (const options of wrong) {
    await t.rejects(
      upload(b.spool, 'key', data, { ...options, compression: GZIP }),
      { code: 'ERR_SPOOL_EXPECTATION', resumable: false },
      JSON.stringify(options),
    )
  }
  t.equal(await b.get('key'), undefined)
  await upload(b.spool, 'key', data, { size: data.length, expect: right, compression: GZIP })
  t.same(gunzipSync((await b.get('key')) ?? ''), data)
})

for (const format of FORMATS) {
  t.test(
    `a sealed ${format} upload is compared with the expectation of a rerun`,
    { skip: missing(format) },
    async t => {
      const data = mixed(300_000)
      const md5 = createHash('md5').update(data).digest('hex')
      const options = { id: 'id', compression: { format } }
      for (const sealedWith of [{}, { md5 }, { md5, sha256: sha256(data) }]) {
        const b = await bench(t)
        const { upload: record } = await seal(b, data, { ...options, expect: sealedWith })
        t.match(record, {
          phase: 'sealed',
          source: {
            compression: format,
            size: data.length,
            crc64: String(crc64(data)),
            ...sealedWith,
          },
        })
        for (const rerun of [
          { size: data.length + 1 },
          { expect: { bytes: 'size' in record ? record.size : 0 } },
          { expect: { crc64: 'crc64' in record ? record.crc64 : '' } },
          { expect: { md5: md5.replace(/./, digit => (digit === '0' ? '1' : '0')) } },
          { expect: { sha256: '0'.repeat(64) } },
        ]) {
          await t.rejects(
            upload(b.spool, 'key', never, { ...options, ...rerun }),
            { code: 'ERR_SPOOL_EXPECTATION' },
            JSON.stringify(rerun),
          )
        }
        const expect = {
          bytes: data.length,
          md5: md5.toUpperCase(),
          sha256: sha256(data),
          crc64: String(crc64(data)),
        }
        const rerun = { id: 'id', size: data.length, expect }
        // With or without the compression: the same id is the same content.
        const again = 'sha256' in sealedWith ? rerun : { ...rerun, ...options }
        t.match(await upload(b.spool, 'key', never, again), { resumed: true, sourceRead: false })
        t.same(await decompressed(format, (await b.get('key')) ?? Buffer.alloc(0)), data)
      }
    },
  )
}

t.test('a damaged temp file fails a late expectation with ERR_SPOOL_CORRUPT', async t => {
  const b = await bench(t)
  const data = mixed(100_000)
  const { upload: record } = await seal(b, data, { compression: GZIP })
  const path = join(b.dir, 'id', record.file)
  const damaged = readFileSync(path)
  damaged.fill(0xff, 1000, 2000)
  await writeFile(path, damaged)
  const rerun = { id: 'id', expect: { md5: '0'.repeat(32) } }
  await t.rejects(upload(b.spool, 'key', never, rerun), { code: 'ERR_SPOOL_CORRUPT' })
  t.equal(await b.get('key'), undefined)
})

t.test('a bounded spool records the expected digests, and refuses others later', async t => {
  const b = await bench(t)
  const data = bytes(1_500_000)
  const md5 = createHash('md5').update(data).digest('hex')
  const bounded = { parallel: 1, maxSpoolBytes: 2 * 102_400, compression: GZIP }
  const { upload: record } = await seal(b, data, { ...bounded, expect: { md5 } })
  t.ok(record.freed !== undefined)
  const rerun = (expect: object) => upload(b.spool, 'key', never, { id: 'id', ...bounded, expect })
  await t.rejects(rerun({ sha256: sha256(data) }), { code: 'ERR_SPOOL_EXPECTATION' })
  await t.rejects(rerun({ md5: '0'.repeat(32) }), { code: 'ERR_SPOOL_EXPECTATION' })
  t.match(await rerun({ md5, bytes: data.length }), { resumed: true })
  t.same(gunzipSync((await b.get('key')) ?? ''), data)
})

t.test(
  'resume() publishes a sealed upload without its source, and a receipt replaces it',
  async t => {
    const b = await bench(t)
    const data = bytes(500_000)
    await seal(b, data, { compression: GZIP, once: true })
    t.match(await b.another().resume('id'), { resumed: true, sourceRead: false })
    t.same(gunzipSync((await b.get('key')) ?? ''), data)
    const receipt = await upload(b.spool, 'key', never, { id: 'id', compression: GZIP })
    t.match(receipt, { receipt: true, size: (await b.get('key'))?.length })
  },
)

t.test('progress has no size before the seal, even with the size of the source', async t => {
  const b = await bench(t)
  const data = bytes(900_000)
  const events: ProgressEvent[] = []
  const result = await upload(b.spool, 'key', data, {
    size: data.length,
    compression: GZIP,
    onProgress: event => events.push(event),
  })
  const before = events.filter(({ phase }) => phase === 'spooling')
  t.ok(before.length > 0)
  t.ok(before.every(({ size, eta }) => size === undefined || (size === result.size && !eta)))
  t.match(events.at(-1), { size: result.size, sent: result.size, uploaded: result.size })
})

t.test('commit() rejects, and a destroyed sink publishes nothing', async t => {
  const b = await bench(t)
  const options: InternalUploadOptions = { id: 'id', compression: GZIP }
  const sink = b.spool.createWriteStream('key', options)
  sink.on('error', () => {})
  sink.write(bytes(200_000))
  await t.rejects(sink.commit(), { name: 'TypeError', code: 'ERR_INVALID_STATE' })
  sink.destroy()
  await t.rejects(sink.result, { code: 'ERR_SPOOL_SOURCE_FAILED', resumable: false })
  t.match(await b.spool.uploads(), [{ phase: 'spooling', resumable: false }])
  const again = b.spool.createWriteStream('key', options)
  await pipeline(streamOf(Buffer.from('new')), again)
  t.equal(String(gunzipSync((await b.get('key')) ?? '')), 'new')
})

t.test('options that need the bytes of the source are rejected', async t => {
  const b = await bench(t)
  const checkpoint = { file: '', name: 'key', fileSize: 1, partSize: 1e6, uploadId: 'u' }
  const wrong: readonly object[] = [
    { compression: GZIP, replay: 'offset' },
    { compression: GZIP, inPlace: import.meta.filename },
    { compression: GZIP, checkpoint: { ...checkpoint, doneParts: [] } },
    { compression: {} },
    { compression: { format: 'br' } },
    { compression: { format: 'toString' } },
    { compression: { format: 'gzip', level: 0 } },
    { compression: { format: 'gzip', level: 10 } },
    { compression: { format: 'gzip', level: '6' } },
    { compression: { format: 'gzip', window: 15 } },
    { compression: 'gzip' },
  ]
  for (const options of wrong) {
    await t.rejects(
      b.spool.upload('key', never, options),
      { code: /^ERR_(INVALID_ARG|OUT_OF_RANGE)/ },
      JSON.stringify(options),
    )
  }
  t.same(b.oss.requests, [])
})

t.test('a failed compressor fails the upload with ERR_SPOOL_SOURCE_FAILED', async t => {
  for (const method of ['transform', 'flush'] as const) {
    const failing = (): Duplex =>
      new Transform({
        transform: (_chunk, _encoding, callback) => callback(),
        [method]: (...args: unknown[]) => {
          const callback = args.at(-1) as (error: Error) => void // the last parameter of both methods
          callback(Object.assign(new Error('no memory'), { code: 'Z_MEM_ERROR' }))
        },
      })
    const { Spool: MockedSpool } = await t.mockImport<typeof import('../../src/index.js')>(
      new URL('../../src/index.js', import.meta.url).href,
      { 'node:zlib': t.createMock(zlib, { createGzip: failing }) },
    )
    const { oss, dir } = await bench(t)
    const spool = new MockedSpool({ client: oss.clientOptions('test-bucket'), dir })
    const options: InternalUploadOptions = { id: 'id', compression: GZIP }
    await t.rejects(
      spool.upload('key', () => streamOf(bytes(300_000)), options),
      { code: 'ERR_SPOOL_SOURCE_FAILED', resumable: false },
      method,
    )
    t.match(await spool.uploads(), [{ phase: 'spooling', resumable: false }])
  }
})

t.test('any writes to a sink arrive as one gzip member', async t => {
  const b = await bench(t)
  const property = fc.asyncProperty(
    fc.array(fc.oneof(fc.uint8Array({ maxLength: 3000 }), fc.string({ maxLength: 50 }))),
    async chunks => {
      const options: InternalUploadOptions = { compression: GZIP }
      const sink = b.spool.createWriteStream('key', options)
      for (const chunk of chunks) sink.write(chunk)
      sink.end()
      await sink.result
      const expected = Buffer.concat(chunks.map(chunk => Buffer.from(chunk)))
      t.ok(gunzipSync((await b.get('key')) ?? '').equals(expected))
    },
  )
  await holds(t, property, 15)
})
