/**
 * `commit()`: a durable prefix of a stream that cannot be read again (rule 13). A new process publishes it, a
 * successor keeps it until it is sealed itself, and it never passes for the whole stream.
 */
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import type { SpoolError, SpoolWriteStream, UploadOptions } from '../../src/index.js'
import { sampled } from '../support/long.js'
import { bench, bytes, type Bench } from '../support/oss.js'

const PART = 102_400
const SMALL = 5000

/** Opens a sink whose errors are expected. */
function open(b: Bench, options: UploadOptions = {}): SpoolWriteStream {
  const sink = b.another().createWriteStream('key', { id: 'id', ...options })
  sink.on('error', () => {})
  return sink
}

/** Leaves a stream that was committed after `committed`, wrote `more`, and whose source then failed. */
async function leaveCommitted(
  b: Bench,
  committed: Buffer,
  more: Buffer = Buffer.alloc(0),
  options: UploadOptions = {},
): Promise<SpoolError> {
  const sink = open(b, options)
  sink.write(committed)
  await sink.commit()
  if (more.length > 0) await new Promise(resolve => sink.write(more, resolve))
  return failWith(sink, new Error('cut'))
}

function failWith(sink: SpoolWriteStream, error?: Error): Promise<SpoolError> {
  sink.destroy(error)
  return sink.result.then(
    () => Promise.reject(new Error('The upload did not fail')),
    (reason: unknown) => reason as SpoolError, // whose code is asserted by the callers
  )
}

async function published(test: Test, b: Bench, data: Buffer): Promise<void> {
  test.same(await b.get('key'), data)
  // A record may remain: an Initiate that was in flight when the sink failed may have left an orphan.
  const files = await readdir(b.dir, { recursive: true })
  test.same(
    files.filter(name => name.includes('spool-')),
    [],
    'no bytes are left on disk',
  )
  test.same(await b.another().uploads(), [])
}

// --- what a new process can publish ---------------------------------------------------------------

const COMMITS = [0, SMALL, PART, PART + 1, 3 * PART + 7].flatMap(committed =>
  [0, 10, 2 * PART].map(more => ({ committed, more })),
)

for (const { committed, more } of sampled(t, COMMITS, 4)) {
  t.test(
    `resume() publishes ${committed} committed bytes without the ${more} after them`,
    async t => {
      const b = await bench(t)
      const data = bytes(committed)
      const error = await leaveCommitted(b, data, bytes(more))
      t.match(error, { code: 'ERR_SPOOL_SOURCE_FAILED', resumable: true, id: 'id' })
      t.match(await b.another().uploads(), [
        { id: 'id', phase: 'spooling', committed, resumable: true, error: { code: error.code } },
      ])
      const result = await b.another().resume('id')
      t.match(result, { size: committed, resumed: true, sourceRead: false, receipt: undefined })
      await published(t, b, data)
    },
  )
}

t.test('the last commit counts', async t => {
  const b = await bench(t)
  const data = bytes(5 * PART)
  const sink = open(b)
  for (let at = 0; at < data.length; at += 30_000) {
    sink.write(data.subarray(at, Math.min(at + 30_000, data.length)))
    await sink.commit()
  }
  await failWith(sink)
  t.match(await b.another().resume('id'), { size: data.length })
  await published(t, b, data)
})

t.test('parts that OSS has are not sent again by resume()', async t => {
  const b = await bench(t)
  const data = bytes(4 * PART + 9)
  const sink = open(b)
  sink.write(data)
  await sink.commit()
  while (b.count('UploadPart') < 4) await sleep(5)
  await failWith(sink)
  t.match(await b.another().resume('id'), { sent: 9, skipped: 4 * PART })
  await published(t, b, data)
})

t.test('a stream that ends after its commits is published as a whole', async t => {
  const b = await bench(t)
  const data = bytes(3 * PART + 7)
  const sink = open(b)
  sink.write(data.subarray(0, PART + 3))
  await sink.commit()
  sink.end(data.subarray(PART + 3))
  t.match(await sink.result, { size: data.length })
  await published(t, b, data)
})

// --- the call -------------------------------------------------------------------------------------

t.test('commit() covers buffered and corked writes, and concurrent calls share syncs', async t => {
  const b = await bench(t)
  const sink = open(b)
  const data = bytes(50_000)
  const commits: Promise<void>[] = []
  sink.cork()
  for (let at = 0; at < data.length; at += 1000) {
    sink.write(data.subarray(at, at + 1000))
    commits.push(sink.commit())
  }
  sink.uncork()
  await Promise.all(commits)
  t.match(await b.another().uploads(), [{ committed: data.length }])
  await failWith(sink)
  await b.another().resume('id')
  await published(t, b, data)
})

t.test('commit() does not wait for a pause of the stream', async t => {
  const b = await bench(t)
  const sink = open(b)
  let isDone = false
  let written = 0
  const chunk = bytes(60_000)
  const pump = (): void => {
    if (isDone) return
    written += chunk.length
    sink.write(chunk, pump)
    if (sink.writableLength < 500_000) pump()
  }
  pump()
  for (let i = 0; i < 5; i++) {
    const before = written
    await sink.commit()
    t.ok(((await b.another().uploads())[0]?.committed ?? 0) >= before)
  }
  isDone = true
  await failWith(sink)
})

t.test('commit() counts bytes in every encoding of the chunks', async t => {
  const b = await bench(t)
  const sink = open(b)
  sink.write('完成')
  sink.write('6869', 'hex')
  await sink.commit()
  t.match(await b.another().uploads(), [{ committed: 8 }])
  sink.end()
  await sink.result
})

t.test('commit() resolves at the seal after end(), and while OSS is away', async t => {
  const b = await bench(t, { spool: { retry: { attempts: 1000, minDelay: 1, maxDelay: 20 } } })
  b.oss.inject({ do: 'reset', at: 'start', times: 'always' })
  for (const size of [SMALL, 3 * PART]) {
    const sink = b.another().createWriteStream(`key-${size}`)
    const data = bytes(size)
    sink.write(data)
    await sink.commit()
    sink.end()
    await sink.commit()
    t.match(
      (await b.another().uploads()).find(({ id }) => id === sink.id),
      { size, resumable: true },
      'sealed',
    )
    sink.on('error', () => {})
    await failWith(sink)
    await sink.commit() // it was durable already
  }
})

t.test(
  'commit() rejects with the error that ended the sink, unless it was durable already',
  async t => {
    const b = await bench(t)
    const sink = open(b)
    sink.write(bytes(100))
    await sink.commit()
    const late = bytes(200_000)
    sink.write(late)
    sink.destroy(new Error('cut'))
    const during = sink.commit()
    await t.rejects(during, { code: 'ERR_SPOOL_SOURCE_FAILED', resumable: true })
    await t.rejects(sink.commit(), { code: 'ERR_SPOOL_SOURCE_FAILED' })
    t.equal(
      await during.catch((error: unknown) => error),
      await sink.result.catch((e: unknown) => e),
    )

    const other = open(b, { id: 'other' })
    other.write(bytes(100))
    await other.commit()
    await failWith(other)
    await other.commit()
  },
)

t.test('commit() rejects if the sink cannot be opened, without an unhandled rejection', async t => {
  const b = await bench(t)
  const first = open(b)
  first.write('a')
  await first.commit()
  const second = open(b)
  void second.commit()
  await t.rejects(second.commit(), { code: 'ERR_SPOOL_LOCKED' })
  await failWith(first)
})

for (const [name, options] of Object.entries({
  size: { size: 10 },
  expect: { expect: { bytes: 10 } },
  once: { once: true },
  replay: { replay: 'offset' },
  inPlace: { inPlace: import.meta.filename },
} as const)) {
  t.test(`commit() rejects with a TypeError if the option ${name} is set`, async t => {
    const b = await bench(t)
    const sink = open(b, options)
    await t.rejects(sink.commit(), TypeError)
    await t.rejects(sink.commit(), { code: 'ERR_INVALID_STATE' })
    await failWith(sink)
  })
}

// --- meetings with other uploads of the id ---------------------------------------------------------

t.test('upload() never finishes a committed stream, but calls its source', async t => {
  const b = await bench(t)
  for (const resumeFails of [false, true]) {
    await leaveCommitted(b, bytes(2 * PART))
    if (resumeFails) {
      const denied = b.oss.inject({
        operation: 'CompleteMultipartUpload',
        do: 'answer',
        status: 403,
        code: 'AccessDenied',
      })
      await t.rejects(b.another().resume('id'), { code: 'ERR_SPOOL_DENIED', resumable: true })
      denied.remove()
      t.match(await b.another().uploads(), [{ phase: 'sealed', committed: 2 * PART }])
    }
    const whole = bytes(3 * PART)
    const result = await b.another().upload('key', () => [whole], { id: 'id', once: true })
    t.match(result, { sourceRead: true, size: whole.length, receipt: undefined })
    t.same(await b.get('key'), whole)
    await b.another().forget('id')
  }
})

t.test('a committed stream is kept until its successor is sealed or committed', async t => {
  const b = await bench(t)
  const first = bytes(2 * PART + 5)
  await leaveCommitted(b, first, bytes(10))
  const second = open(b)
  await new Promise(resolve => second.write(bytes(3 * PART), resolve))
  await failWith(second)
  t.match(await b.another().uploads(), [{ committed: first.length, resumable: true }])
  await b.another().resume('id')
  t.same(await b.get('key'), first)

  await leaveCommitted(b, first, bytes(10))
  const third = bytes(PART + 1)
  await leaveCommitted(b, third, bytes(10))
  t.match(await b.another().uploads(), [{ committed: third.length }])
  await b.another().resume('id')
  await published(t, b, third)
})

t.test('a sealed predecessor is kept until the committed successor is resumed', async t => {
  const b = await bench(t)
  const denied = b.oss.inject({
    operation: 'CompleteMultipartUpload',
    do: 'answer',
    status: 403,
    code: 'AccessDenied',
    times: 'always',
  })
  const sealed = open(b)
  sealed.end(bytes(2 * PART))
  await t.rejects(sealed.result, { code: 'ERR_SPOOL_DENIED' })
  const data = bytes(2 * PART + 9)
  await leaveCommitted(b, data)
  t.equal((await readdir(join(b.dir, 'id'))).filter(name => name.startsWith('spool-')).length, 2)
  denied.remove()
  await b.another().resume('id')
  await published(t, b, data)
})

t.test('abort() and prune() give up a committed upload only as a sealed one', async t => {
  const b = await bench(t)
  await leaveCommitted(b, bytes(2 * PART))
  t.same(await b.another().prune({ olderThan: 0 }), [])
  t.match(await b.another().prune({ olderThan: 0, sealed: true }), [{ kind: 'upload', id: 'id' }])
  t.same(await readdir(b.dir), [])
  await leaveCommitted(b, bytes(2 * PART))
  await b.another().abort('id')
  t.same(await readdir(b.dir), [])
  t.equal(await b.get('key'), undefined)
})

// --- a bounded spool --------------------------------------------------------------------------------

t.test('a bounded spool keeps the part in which the last commit ends', async t => {
  for (const parallel of [1, 3]) {
    const b = await bench(t, { spool: { maxSpoolBytes: (parallel + 1) * PART, parallel } })
    const data = bytes(12 * PART)
    const sink = open(b)
    let at = 0
    for (const end of [2 * PART + 50, 5 * PART + 1, 6 * PART, 8 * PART - 1]) {
      while (at < end) {
        const chunk = data.subarray(at, Math.min(at + 20_000, end))
        await new Promise(resolve => sink.write(chunk, resolve))
        at += chunk.length
      }
      await sink.commit()
    }
    await new Promise(resolve => sink.write(data.subarray(8 * PART - 1, 11 * PART), resolve))
    await failWith(sink)
    t.match(await b.another().resume('id'), { size: 8 * PART - 1 })
    await published(t, b, data.subarray(0, 8 * PART - 1))
  }
})

t.test(
  'a damaged committed prefix is quarantined by resume(), and does not stop a new stream',
  async t => {
    const { truncate } = await import('node:fs/promises')
    const b = await bench(t)
    const cut = async (): Promise<void> => {
      const names = await readdir(join(b.dir, 'id'))
      await truncate(join(b.dir, 'id', names.find(name => name.startsWith('spool-')) ?? ''), 10)
    }
    await leaveCommitted(b, bytes(2 * PART))
    await cut()
    const data = bytes(PART)
    await b.another().upload('key', () => [data], { id: 'id' })
    t.ok(b.warnings.some(({ id }) => id === 'id'))
    await published(t, b, data)
    await leaveCommitted(b, bytes(2 * PART))
    await cut()
    await t.rejects(b.another().resume('id'), { code: 'ERR_SPOOL_CORRUPT', resumable: false })
  },
)

// --- bytes that were refused ------------------------------------------------------------------------

for (const [name, lose] of Object.entries({
  'a write after destroy()': (sink: SpoolWriteStream) => sink.destroy().write('b'),
  'the chunk of end() after destroy()': (sink: SpoolWriteStream) => sink.destroy().end('b'),
  'a chunk of a wrong type': (sink: SpoolWriteStream) => sink.write(5),
  'a write after end()': (sink: SpoolWriteStream) => sink.end().write('b'),
})) {
  t.test(`commit() rejects after ${name}, although everything before is durable`, async t => {
    const b = await bench(t)
    const sink = open(b)
    sink.write('a')
    await sink.commit()
    lose(sink)
    await t.rejects(sink.commit())
    await t.rejects(sink.result)
    await t.rejects(sink.commit())
    t.match(await b.another().uploads(), [{ resumable: true }])
    await b.another().resume('id')
    t.same(await b.get('key'), Buffer.from('a'))
  })
}

t.test('commit() rejects after a write that came after the object was published', async t => {
  const b = await bench(t)
  const sink = open(b)
  sink.end('a')
  await sink.result
  await sink.commit()
  sink.write('b')
  await t.rejects(sink.commit(), { code: 'ERR_STREAM_WRITE_AFTER_END' })
})

t.test('a bounded spool publishes a commit at the end of a freed first part', async t => {
  const b = await bench(t, { spool: { maxSpoolBytes: 2 * PART, parallel: 1 } })
  const data = bytes(8 * PART)
  const sink = open(b)
  sink.write(data.subarray(0, PART))
  await sink.commit()
  await new Promise(resolve => sink.write(data.subarray(PART), resolve))
  await failWith(sink)
  t.match(await b.another().resume('id'), { size: PART, sent: 0 })
  await published(t, b, data.subarray(0, PART))
})

t.test('a failure after a commit is resumable, even if OSS lost later parts', async t => {
  const b = await bench(t, { spool: { maxSpoolBytes: 2 * PART, parallel: 1 } })
  const data = bytes(12 * PART)
  const sink = open(b)
  sink.write(data.subarray(0, 5000))
  await sink.commit()
  await new Promise(resolve => sink.write(data.subarray(5000, 6 * PART), resolve))
  b.oss.inject({ operation: 'UploadPart', do: 'drop-upload', times: 1 })
  sink.write(data.subarray(6 * PART))
  const error = await sink.result.catch((reason: unknown) => reason)
  t.match(error, { code: 'ERR_SPOOL_UPLOAD_FAILED', resumable: true })
  t.match(await b.another().resume('id'), { size: 5000 })
  await published(t, b, data.subarray(0, 5000))
})
