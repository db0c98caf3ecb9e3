/** `rotate()`: distribution of records, state after failures, and reruns of a job. */
import { on, once } from 'node:events'
import { PassThrough, Readable, Transform, Writable } from 'node:stream'
import { finished, pipeline } from 'node:stream/promises'
import { ReadableStream } from 'node:stream/web'
import { createCipheriv, createDecipheriv } from 'node:crypto'
import { createGzip, gunzipSync } from 'node:zlib'
import OSS from 'ali-oss'
import chain from 'stream-chain'
import t from 'tap'
import {
  csv,
  jsonl,
  rotate,
  type Manifest,
  type ManifestObject,
  type RotateOptions,
  type RotateStream,
} from '../../src/etl/index.js'
import { SpoolError } from '../../src/index.js'
import { bench, BUCKET, bytes, type Bench } from '../support/oss.js'
import { long } from '../support/long.js'

interface Row {
  readonly id: number
  readonly of: string
  readonly text: string
}

/** Yields `count` rows whose partitions alternate. */
function* rows(count: number, of = 'ABC'): Generator<Row> {
  for (let id = 0; id < count; id++) {
    yield { id, of: of[id % of.length] ?? '', text: `${'x'.repeat(id % 7)}\n` }
  }
}

/** Fills a batch, so that its object has an upload. */
const WIDE: Row = { id: -1, of: 'A', text: 'x'.repeat(65_536) }

const plain = (content: Buffer): Buffer => content

/** Returns the records of an object on OSS. */
async function recordsOf(work: Bench, key: string, unpack = plain): Promise<Row[]> {
  const content = unpack((await work.get(key)) ?? Buffer.alloc(0))
  return content
    .toString()
    .split('\n')
    .filter(line => line !== '')
    .map(line => JSON.parse(line) as Row) // written by `jsonl`
}

/** Returns the manifest on OSS. Checks that it equals the result of the sink, and the size of each object. */
async function manifestOf(
  work: Bench,
  sink: Pick<RotateStream<unknown>, 'result'>,
  key = '_manifest-job.json',
) {
  const manifest = JSON.parse(String(await work.get(key))) as Manifest
  t.same(await sink.result, manifest)
  for (const object of manifest.objects) {
    t.equal((await work.get(object.key))?.length, object.size, object.key)
  }
  return manifest
}

const keysOf = ({ objects }: Manifest): string[] => objects.map(({ key }) => key)
const countsOf = ({ objects }: Manifest): number[] => objects.map(({ records }) => records)

t.test('open objects are not limited by parallelUploads of their spool', async t => {
  const work = await bench(t)
  const spool = work.another({ parallelUploads: 1 })
  const options = { job: 'job', key: '{partition}-{seq}', format: jsonl, maxOpen: 20 }
  const sink = rotate<Row>(spool, { ...options, partitionBy: row => row.of })
  const many = rows(20_000, 'ABCDEFGHIJKLMNOPQRST') // more bytes than the buffers hold while nothing is sent
  const wide = Readable.from(many).map((row: Row) => ({ ...row, text: 'x'.repeat(1000) }))
  await pipeline(wide, sink)
  t.equal((await sink.result).objects.length, 20)
})

t.test('every.records is exact, and the manifest lists all objects', async t => {
  const work = await bench(t)
  const sink = rotate<Row>(work.spool, {
    job: 'job',
    key: 'rows/{seq:03}.jsonl',
    format: jsonl,
    every: { records: 10 },
    recordId: ({ id }) => `row ${id}`,
  })
  const events: ManifestObject[] = []
  sink.on('object', object => events.push(object))
  await pipeline(rows(25), sink)
  const manifest = await manifestOf(work, sink, 'rows/_manifest-job.json')
  t.match(manifest, { job: 'job', records: 25 })
  t.same(keysOf(manifest), ['rows/000.jsonl', 'rows/001.jsonl', 'rows/002.jsonl'])
  t.match(manifest.objects, [
    { records: 10, first: 'row 0', last: 'row 9' },
    { records: 10, first: 'row 10', last: 'row 19' },
    { records: 5, first: 'row 20', last: 'row 24' },
  ])
  t.equal(
    manifest.size,
    manifest.objects.reduce((sum, { size }) => sum + size, 0),
  )
  const all = await Promise.all(keysOf(manifest).map(key => recordsOf(work, key)))
  t.same(all.flat(), [...rows(25)])
  t.same(new Set(events), new Set(manifest.objects))
  const put = work.oss.requests.filter(({ operation }) => operation === 'PutObject')
  t.equal(put.at(-1)?.key, 'rows/_manifest-job.json', 'the manifest is stored last')
  t.same(await work.spool.uploads(), [])
})

t.test('every.bytes is exact without transforms and never splits a record', async t => {
  const work = await bench(t)
  const texts = Array.from({ length: 30 }, (_, i) => `${'é'.repeat(i)}\n`)
  const chunks = [...texts, bytes(70_000), bytes(1), new Uint8Array(bytes(150_000))]
  const sink = rotate(work.spool, { job: 'job', key: '{seq}', every: { bytes: 100 } })
  await pipeline(Readable.from(chunks), sink)
  const manifest = await manifestOf(work, sink)
  const expected: Buffer[] = []
  let size = Infinity
  for (const chunk of chunks.map(c => Buffer.from(c))) {
    if (size >= 100) {
      expected.push(Buffer.alloc(0))
      size = 0
    }
    const last = expected.length - 1
    expected[last] = Buffer.concat([expected[last] ?? Buffer.alloc(0), chunk])
    size += chunk.length
  }
  t.same(await Promise.all(keysOf(manifest).map(key => work.get(key))), expected)
})

t.test('every.bytes counts compressed bytes, and reruns split at the same records', async t => {
  const work = await bench(t)
  const texts = Array.from({ length: 6000 }, (_, i) => bytes(150).toString('base64') + `${i}\n`)
  const run = async (job: string, pace: number): Promise<Manifest> => {
    const sink = rotate<string>(work.spool, {
      job,
      key: '{job}/{partition}-{seq}.gz',
      partitionBy: text => text.charCodeAt(0) % 2,
      transform: 'gzip',
      every: { bytes: 60_000 },
    })
    const source = async function* (): AsyncGenerator<string> {
      for (const [i, text] of texts.entries()) {
        yield text
        if (pace > 0 && i % 100 === 0) await new Promise(resolve => setTimeout(resolve, pace))
      }
    }
    await pipeline(source(), sink)
    return sink.result
  }
  const [quick, slow] = [await run('quick', 0), await run('slow', 10)]
  t.ok(quick.objects.length >= 4, `${quick.objects.length} objects`)
  const contentsOf = ({ objects }: Manifest): unknown =>
    objects.map(({ size, crc64, records, first, last }) => [size, crc64, records, first, last])
  t.same(contentsOf(slow), contentsOf(quick))
  const largest = Math.max(...quick.objects.map(({ size }) => size))
  t.ok(largest < 60_000 + 2 * 65_536, `at most two batches above the limit: ${largest}`)
  for (const partition of ['quick/0', 'quick/1']) {
    const sizes = quick.objects.filter(({ key }) => key.startsWith(partition)).map(o => o.size)
    t.ok(sizes.length > 2)
    t.ok(
      sizes.slice(0, -1).every(size => size >= 60_000),
      `all objects but the last reach the limit: ${sizes.join()}`,
    )
  }
  const contents = await Promise.all(quick.objects.map(({ key }) => work.get(key)))
  const all = contents.map(content => String(gunzipSync(content ?? Buffer.alloc(0)))).join('')
  t.same(new Set(all.split('\n')), new Set(texts.join('').split('\n')))
  t.equal(all.length, texts.join('').length)
})

t.test('every.ms ends an object even if no more records arrive', async t => {
  const work = await bench(t)
  const source = new PassThrough({ objectMode: true })
  const sink = rotate<Row>(work.spool, {
    job: 'job',
    key: '{seq}',
    format: jsonl,
    every: { ms: 100 },
  })
  const done = pipeline(source, sink)
  const [one, two] = rows(2)
  source.write(one)
  t.match((await once(sink, 'object'))[0], { key: '0', records: 1 })
  source.write(two)
  t.match((await once(sink, 'object'))[0], { key: '1', records: 1 })
  source.end()
  await done
  t.same(countsOf(await sink.result), [1, 1])
})

t.test('cutBefore starts a new object', async t => {
  const work = await bench(t)
  const sink = rotate<Row>(work.spool, {
    job: 'job',
    key: '{seq}',
    format: jsonl,
    cutBefore: (row, previous) => row.text.length < previous.text.length,
  })
  await pipeline(rows(20), sink)
  t.same(countsOf(await manifestOf(work, sink)), [7, 7, 6])
})

t.test('maxOpen limits open objects by ending the least recently used one', async t => {
  const work = await bench(t)
  const run = async (job: string, maxOpen: number): Promise<string[]> => {
    const sink = rotate<string>(work.spool, {
      job,
      key: '{job}/{partition}-{seq}',
      partitionBy: of => of,
      maxOpen,
      manifest: '{job}.json',
    })
    await pipeline(Readable.from('ABACABBC'.split('')), sink)
    const { objects } = await manifestOf(work, sink, `${job}.json`)
    return objects.map(({ key, first, last, records }) => `${key} ${first}-${last} ${records}`)
  }
  t.same(await run('three', 3), ['three/A-0 0-4 3', 'three/B-0 1-6 3', 'three/C-0 3-7 2'])
  t.same(await run('two', 2), [
    'two/A-0 0-4 3', // C evicts B, then B evicts C
    'two/B-0 1-1 1',
    'two/C-0 3-3 1',
    'two/B-1 5-6 2',
    'two/C-1 7-7 1',
  ])
})

t.test('date placeholders use the time of the record', async t => {
  const work = await bench(t)
  const hours = [22, 23, 24, 25, 23, 47]
  const sink = rotate<number>(work.spool, {
    job: 'job',
    key: 'dt={yyyy}-{MM}-{dd}/{seq:02}.jsonl',
    time: hour => Date.UTC(2026, 0, 1, hour - 8),
    timeZone: 'Asia/Shanghai',
    format: jsonl,
  })
  await pipeline(hours, sink)
  const manifest = await manifestOf(work, sink)
  t.same(keysOf(manifest), ['dt=2026-01-01/00.jsonl', 'dt=2026-01-02/00.jsonl'])
  t.equal(String(await work.get('dt=2026-01-01/00.jsonl')), '22\n23\n23\n')
})

t.test(
  'a transform function creates a chain per object, and upload options are applied',
  async t => {
    const work = await bench(t)
    const [secret, iv] = [Buffer.alloc(32, 1), Buffer.alloc(16, 2)]
    const sink = rotate<Row>(work.spool, {
      job: 'job',
      key: '{seq}',
      format: await csv<Row>({ columns: ['id', 'of'], extraColumns: 'ignore' }),
      transform: () => [createGzip(), createCipheriv('aes-256-ctr', secret, iv)],
      every: { records: 5 },
      upload: { mime: 'application/x-own', tags: { team: 'etl' } },
    })
    await pipeline(rows(10), sink)
    await manifestOf(work, sink)
    const read = async (key: string): Promise<string> => {
      const decipher = createDecipheriv('aes-256-ctr', secret, iv)
      return String(gunzipSync(decipher.update((await work.get(key)) ?? Buffer.alloc(0))))
    }
    t.equal(await read('0'), 'id,of\n0,A\n1,B\n2,C\n3,A\n4,B\n')
    t.equal(await read('1'), 'id,of\n5,C\n6,A\n7,B\n8,C\n9,A\n')
    const { res } = await new OSS(work.oss.clientOptions(BUCKET)).head('0')
    t.match(res.headers, { 'content-type': 'application/x-own', 'x-oss-tagging-count': '1' })
  },
)

t.test('a job without records publishes a manifest without objects', async t => {
  const work = await bench(t)
  const sink = rotate<Row>(work.spool, { job: 'job', key: '{seq}', format: jsonl })
  await pipeline(rows(0), sink)
  t.same(await manifestOf(work, sink), { job: 'job', records: 0, size: 0, objects: [] })
})

void long(t, 'records wait while maxEnding objects are being sent', async t => {
  const work = await bench(t)
  const held = work.oss.inject({ do: 'hang', operation: 'PutObject', times: 'always' })
  let taken = 0
  const source = function* (): Generator<Row> {
    for (const row of rows(200)) {
      taken++
      yield row
    }
  }
  const every = { records: 1 }
  const options = { job: 'job', key: '{seq}', format: jsonl, every, maxEnding: 2 }
  const sink = rotate<Row>(work.spool, options)
  const done = pipeline(source(), sink)
  await held.hit(3)
  await new Promise(resolve => setTimeout(resolve, 300))
  t.ok(taken < 50, `${taken} records were read`)
  t.equal(held.hits, 3)
  held.remove()
  await done
  t.equal((await manifestOf(work, sink)).records, 200)
})

t.test('a rejected object fails the job, and the next run sends the missing ones', async t => {
  const work = await bench(t)
  const options = { job: 'job', key: '{seq}', format: jsonl, every: { records: 10 } }
  const fault = { do: 'answer', status: 403, code: 'AccessDenied', times: 'always' } as const
  const refused = work.oss.inject({ ...fault, key: '3' })
  const sink = rotate<Row>(work.spool, options)
  const failure = { code: 'ERR_SPOOL_DENIED', resumable: true }
  await t.rejects(pipeline(rows(95), sink), failure)
  await t.rejects(sink.result, failure)
  t.equal(await work.get('_manifest-job.json'), undefined)
  const left = await work.spool.uploads()
  t.match(
    left.find(({ key }) => key === '3'),
    { phase: 'sealed' },
  )
  const there = work.count('PutObject')
  refused.remove()

  const again = rotate<Row>(work.another(), options)
  await pipeline(rows(95), again)
  const manifest = await manifestOf(work, again)
  const all = await Promise.all(keysOf(manifest).map(key => recordsOf(work, key)))
  t.same(all.flat(), [...rows(95)])
  t.equal(work.count('PutObject'), 10 + 1, `each object is sent once; ${there} in the first run`)

  const before = work.oss.requests.length
  const third = rotate<Row>(work.another(), options)
  await pipeline(rows(95), third)
  t.same(await third.result, manifest)
  t.equal(work.oss.requests.length, before, 'rerunning a finished job sends no requests')
})

t.test('a failed source keeps ended objects and does not publish open ones', async t => {
  const work = await bench(t)
  const options = { job: 'job', key: '{seq}', format: jsonl, every: { records: 10 } }
  const records = [...rows(25), WIDE]
  const failure = new Error('the database went away')
  const sink = rotate<Row>(work.spool, options)
  // Wait for the events: OSS may have stored the second object before the job knows.
  const objects = on(sink, 'object')
  const source = async function* (): AsyncGenerator<Row> {
    yield* records
    await objects.next()
    await objects.next()
    throw failure
  }
  await t.rejects(pipeline(source(), sink), failure)
  await t.rejects(sink.result, { code: 'ERR_SPOOL_SOURCE_FAILED', cause: failure })
  await (sink.closed || once(sink, 'close').catch(() => undefined))
  t.match(await work.spool.uploads(), [{ key: '2', phase: 'spooling', owner: undefined }])
  t.equal(work.count('PutObject'), 2)
  const again = rotate<Row>(work.spool, options)
  await pipeline(records, again)
  t.same(countsOf(await manifestOf(work, again)), [10, 10, 6])
  t.equal(work.count('PutObject'), 4)
})

t.test('different records under the same job name are rejected', async t => {
  const work = await bench(t)
  const options = { job: 'job', key: '{seq}', format: jsonl, every: { records: 10 } }
  await pipeline(rows(20), rotate<Row>(work.spool, options))
  const before = await work.get('0')
  const other = [...rows(20)].map(row => ({ ...row, id: row.id % 10 }))
  const sink = rotate<Row>(work.spool, options)
  await t.rejects(pipeline(other, sink), { code: 'ERR_SPOOL_EXPECTATION', resumable: false })
  t.same(await work.get('0'), before)
  const more = rotate<Row>(work.spool, options)
  await t.rejects(
    pipeline(rows(30), more),
    { code: 'ERR_SPOOL_EXPECTATION' },
    'the manifest differs',
  )
})

t.test("someone else's object is not overwritten", async t => {
  const work = await bench(t)
  await new OSS(work.oss.clientOptions(BUCKET)).put('1', Buffer.from('mine'))
  const options = { job: 'job', key: '{seq}', format: jsonl, every: { records: 10 } }
  const sink = rotate<Row>(work.spool, options)
  await t.rejects(pipeline(rows(30), sink), { code: 'ERR_SPOOL_OBJECT_EXISTS', resumable: false })
  t.equal(String(await work.get('1')), 'mine')
  const job = { job: 'other', key: 'x-{partition}', format: jsonl, maxOpen: 1 }
  const twice = rotate<Row>(work.spool, { ...job, partitionBy: ({ of }) => of })
  await t.rejects(
    pipeline(rows(30), twice),
    { code: 'ERR_SPOOL_OBJECT_EXISTS' },
    'our own object is not overwritten either',
  )
})

t.test(
  'the hint of a collision names what helps, and never proposes to replace the object',
  async t => {
    const work = await bench(t)
    const failureOf = async (options: Partial<RotateOptions<Row>>): Promise<SpoolError> => {
      const all = { job: 'today', key: '{seq}', format: jsonl, ...options }
      const error: unknown = await pipeline(rows(30), rotate<Row>(work.spool, all)).catch(
        (failure: unknown) => failure,
      )
      if (!(error instanceof SpoolError)) throw error
      t.equal(error.code, 'ERR_SPOOL_OBJECT_EXISTS')
      t.notMatch(error.hint, /force/i)
      return error
    }
    await pipeline(
      rows(30),
      rotate<Row>(work.spool, { job: 'yesterday', key: '{seq}', format: jsonl }),
    )
    const yesterday = await work.get('0')

    const { hint, id } = await failureOf({})
    t.match(hint, /Add \{job\} to the option "key"/)
    t.match(hint, `spool.abort('${id}')`)
    await work.spool.abort(id)
    await pipeline(
      rows(30),
      rotate<Row>(work.spool, { job: 'today', key: '{job}-{seq}', format: jsonl }),
    )
    t.same(await work.get('0'), yesterday, 'the object of the other job is unchanged')

    const client = new OSS(work.oss.clientOptions(BUCKET))
    await client.put('new-0', Buffer.from('mine'))
    t.match((await failureOf({ job: 'new', key: '{job}-{seq}' })).hint, /^Use a new job name/)
    await client.put('list', Buffer.from('mine'))
    const listed = await failureOf({ job: 'newer', key: '{job}-{seq}', manifest: 'list' })
    t.match(listed.hint, /Add \{job\} to the option "manifest"/)

    await client.put('q-0', Buffer.from('mine'))
    const committed = await failureOf({ job: 'q', key: '{job}-{seq}', commit: { records: 10 } })
    t.match(committed.hint, /^Use a new job name for every run/)
    t.notMatch(committed.hint, 'abort', 'committed records are not discarded')
  },
)

t.test('an exception in a callback fails the job, and no open object is published', async t => {
  const failure = new Error('no')
  const fail = (): never => {
    throw failure
  }
  const failing = (): Transform =>
    new Transform({ transform: (_chunk, _encoding, callback) => callback(failure) })
  const base = {
    job: 'job',
    key: '{partition}/{seq}',
    partitionBy: ({ of }: Row) => of,
    format: jsonl,
  }
  const wrong: Readonly<Record<string, object>> = {
    format: { format: fail },
    partitionBy: { partitionBy: fail },
    cutBefore: { cutBefore: fail },
    recordId: { recordId: fail },
    'transform, on creation': { transform: fail },
    'transform, on data': { transform: failing },
    time: { key: '{partition}/{yyyy}', time: fail },
  }
  const work = await bench(t)
  for (const [name, options] of Object.entries(wrong)) {
    const sink = rotate<Row>(work.spool, { ...base, ...options, job: name.replace(/\W+/g, '-') })
    const expected = name.startsWith('transform')
      ? failure
      : { cause: failure, message: /Record \d/ }
    await t.rejects(pipeline(rows(20), sink), expected, name)
    await t.rejects(sink.result, expected, name)
  }
  t.equal(work.count('PutObject'), 0)
})

t.test('destroy() before or after end() publishes no unfinished object', async t => {
  const work = await bench(t)
  const open = rotate<Row>(work.spool, { job: 'open', key: 'o/{seq}', format: jsonl })
  for (const row of [...rows(5), WIDE]) open.write(row)
  await new Promise(resolve => setTimeout(resolve, 100))
  open.destroy()
  await t.rejects(open.result, { code: 'ERR_SPOOL_SOURCE_FAILED' })

  const held = work.oss.inject({ do: 'hang', operation: 'PutObject', times: 'always' })
  const ended = rotate<Row>(work.spool, { job: 'ended', key: 'e/{seq}', format: jsonl })
  const done = pipeline(rows(5), ended)
  await held.hit()
  ended.destroy()
  await t.rejects(
    done,
    { code: 'ERR_SPOOL_ABORTED' },
    'pipeline() does not treat the destroyed sink as finished',
  )
  await t.rejects(ended.result, { code: 'ERR_SPOOL_ABORTED' })
  held.remove()
  t.equal(work.count('PutObject'), 0)
  const left = await work.spool.uploads()
  t.same(new Set(left.map(({ phase }) => phase)), new Set(['completing', 'spooling']))
  t.ok(left.every(({ owner }) => owner === undefined))
  const never = rotate<Row>(work.spool, { job: 'never', key: '{seq}', format: jsonl })
  never.destroy()
  await t.rejects(never.result, { code: 'ERR_SPOOL_SOURCE_FAILED' })
})

t.test('a job fails when the signal that is a default of its spool is aborted', async t => {
  const work = await bench(t)
  const reason = new Error('shutdown')
  const isAborted = { code: 'ERR_SPOOL_ABORTED', cause: reason }
  for (const [name, more] of Object.entries({ rerun: {}, committed: { commit: { ms: 1 } } })) {
    const controller = new AbortController()
    const { signal } = controller
    const spool = work.another({ signal })
    const open = (job: string): RotateStream<Row> =>
      rotate<Row>(spool, { job: `${job}-${name}`, key: '{job}/{seq}', format: jsonl, ...more })
    const during = open('during')
    const failed = once(during, 'error')
    for (const row of rows(5)) during.write(row)
    controller.abort(reason)
    t.match(await failed, [isAborted])
    await t.rejects(during.result, isAborted)
    await t.rejects(pipeline(rows(5), open('after')), isAborted)
  }
  t.equal(work.count('PutObject'), 0)
})

t.test('works as the last item of a chain and as the destination of web streams', async t => {
  const work = await bench(t)
  const make = (job: string): RotateStream<Row> =>
    rotate<Row>(work.spool, { job, key: '{job}/{seq}', format: jsonl, manifest: '{job}.json' })
  const web = (failure?: Error): ReadableStream<Row> => {
    const iterator = rows(5)
    return new ReadableStream<Row>({
      pull(controller) {
        const { done, value } = iterator.next()
        if (done !== true) controller.enqueue(value)
        else if (failure === undefined) controller.close()
        else controller.error(failure)
      },
    })
  }
  const ways: Readonly<
    Record<string, (sink: RotateStream<Row>, failure?: Error) => Promise<unknown>>
  > = {
    chain: async sink => {
      const all = chain([Readable.from(rows(5)), (row: Row) => row, sink])
      await finished(all).finally(() => all.destroy())
    },
    pipeline: (sink, failure) => pipeline(web(failure), sink),
    pipeTo: (sink, failure) => web(failure).pipeTo(Writable.toWeb(sink)),
  }
  for (const [name, run] of Object.entries(ways)) {
    const sink = make(name)
    await run(sink)
    t.same(countsOf(await manifestOf(work, sink, `${name}.json`)), [5], name)
    t.same(await recordsOf(work, `${name}/0`), [...rows(5)])
  }
  const failure = new Error('the socket was closed')
  for (const name of ['pipeline', 'pipeTo']) {
    const sink = make(`failed-${name}`)
    await t.rejects(ways[name]?.(sink, failure) ?? Promise.resolve(), failure, name)
    await t.rejects(sink.result, { code: 'ERR_SPOOL_SOURCE_FAILED', cause: failure }, name)
    t.equal(await work.get(`failed-${name}/0`), undefined)
  }
})
