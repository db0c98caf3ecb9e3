/** `rotate()` takes arrays of records as it takes single ones. */
import { Readable } from 'node:stream'
import { finished, pipeline } from 'node:stream/promises'
import { setImmediate } from 'node:timers/promises'
import chain from 'stream-chain'
import { batch } from 'stream-chain/utils/batch.js'
import t from 'tap'
import { csv, jsonl, rotate, type Manifest } from '../../src/etl/index.js'
import { bench } from '../support/oss.js'

const numbers = (count: number): number[] => [...Array(count).keys()]
const lines = (records: readonly number[]): string => records.map(id => `${id}\n`).join('')
const layout = ({ records, objects }: Manifest): unknown => [
  records,
  objects.map(({ key, size, crc64, records: count, first, last }) =>
    [key.slice(key.indexOf('/')), size, crc64, count, first, last].join(),
  ),
]

t.test('arrays give the same objects as single records', async t => {
  const work = await bench(t)
  const run = async (job: string, chunks: readonly (number | number[])[]): Promise<unknown> => {
    const sink = rotate<number>(work.spool, {
      job,
      key: '{job}/{partition}-{seq}',
      partitionBy: id => id % 3,
      every: { records: 20 },
      format: jsonl,
    })
    await pipeline(Readable.from(chunks), sink)
    return layout(await sink.result)
  }
  const single = await run('single', numbers(200))
  const rest = numbers(200)
  const batches: (number | number[])[] = []
  for (let size = 0; rest.length > 0; size = (size + 7) % 40) {
    batches.push(rest.splice(0, size), ...rest.splice(0, 1))
  }
  t.same(await run('batches', batches), single)
  t.same(await run('one', [numbers(200)]), single)
})

t.test('takes the output of batch() of stream-chain', async t => {
  const work = await bench(t)
  const sink = rotate<number>(work.spool, { job: 'job', key: '{seq}', format: jsonl })
  const all = chain([Readable.from(numbers(95)), batch<number>(10), sink])
  await finished(all).finally(() => all.destroy())
  t.equal((await sink.result).records, 95)
  t.equal(String(await work.get('0')), lines(numbers(95)))
})

t.test('commit() and its event count records', async t => {
  const work = await bench(t)
  const sink = rotate<number>(work.spool, {
    job: 'job',
    key: '{job}/{seq}',
    format: jsonl,
    commit: { records: 10 },
  })
  const commits: number[] = []
  sink.on('commit', records => commits.push(records))
  const mutable = numbers(25)
  sink.write(mutable)
  mutable.length = 0 // the caller goes on to use its array
  sink.write([])
  sink.write(numbers(3))
  await sink.commit()
  await setImmediate() // events follow the promise
  t.equal(commits.at(-1), 28)
  sink.write(7)
  await sink.commit()
  await setImmediate()
  t.equal(commits.at(-1), 29)
  sink.end(numbers(2))
  t.equal((await sink.result).records, 31)
  t.equal(String(await work.get('job/0')), lines([...numbers(25), ...numbers(3), 7, 0, 1]))
})

t.test('records of an array that come too late make commit() reject', async t => {
  const work = await bench(t)
  const options = { job: 'job', key: '{job}/{seq}', format: jsonl, commit: { records: 100 } }
  const sink = rotate<number>(work.spool, options)
  sink.on('error', () => {})
  sink.end([1, 2])
  await sink.result
  sink.write([3])
  await t.rejects(sink.commit(), { code: 'ERR_STREAM_WRITE_AFTER_END' })
})

t.test('arrayRecords takes each array as one record', async t => {
  const work = await bench(t)
  const sink = rotate<unknown[]>(work.spool, {
    job: 'job',
    key: '{seq}',
    format: await csv<unknown[]>({ columns: ['a', 'b'] }),
    arrayRecords: true,
    recordId: ([id]) => Number(id),
  })
  sink.cork() // several chunks are written at once
  sink.write([1, [2, 3]])
  sink.write([4])
  sink.uncork()
  sink.end([5, 6])
  t.match(await sink.result, { records: 3, objects: [{ first: 1, last: 5 }] })
  t.equal(String(await work.get('0')), 'a,b\n1,"[2,3]"\n4,\n5,6\n')
})

t.test('bytes are records, not arrays, and null is no chunk', async t => {
  const work = await bench(t)
  const sink = rotate(work.spool, { job: 'job', key: '{seq}' })
  t.throws(() => sink.write(null), { code: 'ERR_STREAM_NULL_VALUES' })
  sink.write(new Uint8Array([65, 66]))
  sink.write([Buffer.from('C'), 'D'])
  sink.end('E')
  t.equal((await sink.result).records, 4)
  t.equal(String(await work.get('0')), 'ABCDE')
  const options: object = { job: 'other', key: '{seq}', arrayRecords: 'yes' }
  t.throws(() => rotate(work.spool, options as never), { code: 'ERR_INVALID_ARG_TYPE' })
})

t.test('every.records and cutBefore see single records', async t => {
  const work = await bench(t)
  const sink = rotate<number>(work.spool, {
    job: 'job',
    key: '{seq}',
    format: jsonl,
    cutBefore: (id, previous) => Math.floor(id / 10) > Math.floor(previous / 10),
  })
  await pipeline(Readable.from([numbers(15), [15], numbers(30).slice(16)]), sink)
  const { objects } = await sink.result
  t.same(
    objects.map(({ records }) => records),
    [10, 10, 10],
  )
})
