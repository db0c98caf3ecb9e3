/** Formats with an encoder per object: beginning and end of each object, refused combinations, and reruns. */
import { pipeline } from 'node:stream/promises'
import t from 'tap'
import {
  rotate,
  type ObjectEncoder,
  type ObjectFormat,
  type RotateOptions,
} from '../../src/etl/index.js'
import { Spool } from '../../src/index.js'
import { bench } from '../support/oss.js'

/** Writes each object as one JSON array, and holds each record until the next one arrives. */
const jsonArray: ObjectFormat<number> = {
  createEncoder(): ObjectEncoder<number> {
    let held: string | undefined
    return {
      add: record => {
        const before = held === undefined ? undefined : `${held},`
        held = `${held === undefined ? '[' : ''}${record}`
        return before
      },
      end: () => `${held ?? '['}]`,
    }
  },
}

t.test('every object has its own encoder, whose end() completes it', async t => {
  const work = await bench(t)
  const options = { job: 'job', key: '{partition}-{seq}.json', format: jsonArray }
  const sink = rotate<number>(work.spool, {
    ...options,
    partitionBy: id => (id % 2 === 0 ? 'even' : 'odd'),
    every: { records: 3 },
  })
  await pipeline([0, 1, 2, 3, 4, 5, 6, 7], sink)
  const { objects } = await sink.result
  const contents = objects.map(async ({ key }) => String(await work.get(key)))
  t.same(await Promise.all(contents), ['[0,2,4]', '[1,3,5]', '[6]', '[7]'])
  t.same(
    objects.map(({ records, size }) => [records, size]),
    [
      [3, 7],
      [3, 7],
      [1, 3],
      [1, 3],
    ],
  )
})

t.test('every.bytes counts the bytes that the encoder has returned', async t => {
  const work = await bench(t)
  const options = { job: 'job', key: '{seq}.json', format: jsonArray, every: { bytes: 4 } }
  const sink = rotate<number>(work.spool, options)
  await pipeline([0, 1, 2, 3], sink)
  const { objects } = await sink.result
  const contents = objects.map(async ({ key }) => String(await work.get(key)))
  t.same(await Promise.all(contents), ['[0,1,2]', '[3]'])
})

t.test('an encoder that fails fails the job', async t => {
  const work = await bench(t)
  const fails = (): never => {
    throw new Error('the encoder failed')
  }
  const encoder = { add: (): string => '', end: (): string => '' }
  const formats: ObjectFormat<number>[] = [
    { createEncoder: fails },
    { createEncoder: () => ({ ...encoder, add: fails }) },
    { createEncoder: () => ({ ...encoder, end: fails }) },
  ]
  for (const [i, format] of formats.entries()) {
    const sink = rotate<number>(work.spool, { job: `job-${i}`, key: '{job}', format })
    await t.rejects(pipeline([0, 1], sink), { message: 'the encoder failed' })
    t.equal(await work.get(`job-${i}`), undefined)
  }
})

t.test('an encoder without its methods, or with another result, fails the job', async t => {
  const work = await bench(t)
  const encoder = { add: (): string => '', end: (): string => '' }
  const results = [
    ...[null, 5, ['a'], {}].map(result => () => result),
    async () => 'a',
    () => Promise.reject(new Error('late')),
  ]
  const wrong = [
    null,
    {},
    { add: encoder.add },
    { end: encoder.end },
    ...results.flatMap(result => [
      { ...encoder, add: result },
      { ...encoder, end: result },
    ]),
  ]
  for (const [i, each] of wrong.entries()) {
    const format = { createEncoder: () => each as ObjectEncoder<number> } // hidden from the compiler
    const sink = rotate<number>(work.spool, { job: `job-${i}`, key: '{job}', format })
    await t.rejects(pipeline([0, 1], sink), { code: 'ERR_INVALID_ARG_TYPE' }, String(i))
    t.equal(await work.get(`job-${i}`), undefined)
  }
})

t.test('an encoder without its methods does not turn all records into bad ones', async t => {
  const work = await bench(t)
  const format = { createEncoder: () => ({}) as ObjectEncoder<number> }
  const options = { job: 'job', key: '{job}', format, deadLetter: { key: 'bad' } }
  await t.rejects(pipeline([0, 1], rotate<number>(work.spool, options)), {
    code: 'ERR_INVALID_ARG_TYPE',
  })
  t.equal(await work.get('bad'), undefined)
})

t.test('a format that is neither function nor object, and excluded options, are refused', t => {
  const client = { accessKeyId: 'k', accessKeySecret: 's', region: 'oss-cn-hangzhou', bucket: 'b' }
  const spool = new Spool({ client, dir: '/nonexistent/oss-spool' }) // never accessed
  const base: RotateOptions<number> = { job: 'job', key: '{job}-{seq}', format: jsonArray }
  const refused = { name: 'TypeError', code: 'ERR_INVALID_ARG_VALUE' }
  t.throws(() => rotate<number>(spool, { ...base, commit: { ms: 10 } }), refused)
  t.throws(() => rotate<number>(spool, { ...base, transform: 'gzip' }), refused)
  t.throws(() => rotate<number>(spool, { ...base, transform: () => [] }), refused)
  for (const format of [null, 'jsonl', {}, { createEncoder: 5 }]) {
    const options: object = { ...base, format } // hidden from the compiler
    const wrong = { name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' }
    t.throws(() => rotate<number>(spool, options as RotateOptions<number>), wrong)
  }
  t.end()
})
