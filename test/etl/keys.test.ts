/** Keys of objects: partitions of any value stay inside the template. */
import * as fc from 'fast-check'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import t from 'tap'
import { rotate } from '../../src/etl/index.js'
import { KeySequences } from '../../src/etl/key-sequence.js'
import { checkRotateOptions, type RotateOptions } from '../../src/etl/options.js'
import { bench } from '../support/oss.js'

const DEFAULT = '__HIVE_DEFAULT_PARTITION__'

/** Returns the keys of objects for partition values, as a job with this template would. */
function keysOf(key: string, options: Partial<RotateOptions<string>> = {}) {
  return (partition: unknown): string => {
    const all = { job: 'job', key, partitionBy: () => partition as string, ...options } // any value on purpose
    const sequences = new KeySequences(checkRotateOptions<string>(all))
    return sequences.nextKey(sequences.sequenceFor(''))
  }
}

/** Undoes the escapes, as Hive and Spark do. */
function unescape(text: string): string {
  return text.replace(/%([0-9A-F]{2})/g, (_, code: string) =>
    String.fromCharCode(Number.parseInt(code, 16)),
  )
}

t.test('{partition} is escaped as Hive does', t => {
  const key = keysOf('{partition}')
  const escaped: Readonly<Record<string, string>> = {
    DE: 'DE',
    'a b': 'a b',
    München: 'München',
    日本: '日本',
    'a/b': 'a%2Fb',
    '../../etc': '..%2F..%2Fetc',
    '100%': '100%25',
    '%2F': '%252F',
    'k=v': 'k%3Dv',
    '12:00': '12%3A00',
    'a\u0000\u0001\n\u001f\u007fb': 'a%00%01%0A%1F%7Fb',
    '"#\'*?\\{}[]^': '%22%23%27%2A%3F%5C%7B}%5B%5D%5E',
    '.': '%2E',
    '..': '%2E%2E',
    '...': '...',
    '.a': '.a',
    '': DEFAULT,
    [DEFAULT]: DEFAULT,
  }
  for (const [value, text] of Object.entries(escaped)) t.equal(key(value), text, value)
  t.end()
})

t.test('partitions of other types have the text of their value', t => {
  const key = keysOf('{partition}')
  const texts: readonly [value: unknown, text: string][] = [
    [7, '7'],
    [-1.5, '-1.5'],
    [-0, '0'],
    [2n ** 70n, '1180591620717411303424'],
    [true, 'true'],
    [false, 'false'],
    [null, DEFAULT],
    [undefined, DEFAULT],
  ]
  for (const [value, text] of texts) t.equal(key(value), text)
  const wrong: readonly [code: string, value: unknown][] = [
    ['ERR_INVALID_ARG_VALUE', Number.NaN],
    ['ERR_INVALID_ARG_VALUE', Infinity],
    ['ERR_INVALID_ARG_TYPE', {}],
    ['ERR_INVALID_ARG_TYPE', ['a']],
    ['ERR_INVALID_ARG_TYPE', new Date(0)],
    ['ERR_INVALID_ARG_TYPE', Symbol('s')],
    ['ERR_INVALID_ARG_TYPE', () => 'a'],
    ['ERR_SPOOL_INVALID_KEY', '\ud800'],
  ]
  for (const [code, value] of wrong) t.throws(() => key(value), { code })
  t.end()
})

t.test('{partition:path} inserts safe segments as they are', t => {
  const key = keysOf('data/{partition:path}/{seq}')
  for (const path of ['a', 'a/b', 'country=DE/city=Berlin', '.a/..b', '...', 'a%2Fb']) {
    t.equal(key(path), `data/${path}/0`)
  }
  t.equal(key(null), `data/${DEFAULT}/0`)
  for (const path of ['/', '/a', 'a/', 'a//b', '.', '..', '../a', 'a/..', 'a/./b', 'a/../b']) {
    t.throws(() => key(path), { code: 'ERR_INVALID_ARG_VALUE' }, path)
  }
  t.throws(() => keysOf('{partition:path}-{seq}')('\\a'), { code: 'ERR_SPOOL_INVALID_KEY' })
  t.equal(keysOf('{partition:path}/{partition}')('a/b'), 'a/b/a%2Fb')
  t.end()
})

t.test('a key of more than 1,023 bytes is an error before the object starts', t => {
  const key = keysOf('{partition}')
  t.equal(key('a'.repeat(1023)).length, 1023)
  for (const long of ['a'.repeat(1024), '/'.repeat(342), 'é'.repeat(512)]) {
    t.throws(() => key(long), { code: 'ERR_SPOOL_INVALID_KEY' })
  }
  t.end()
})

t.test('no partition leaves its segment, and different partitions have different keys', t => {
  const key = keysOf('data/dt={partition}/x.{partition}-{seq}')
  const hostile = fc.string({
    unit: fc.constantFrom('.', '/', '%', '2', 'E', 'F', '\\', '=', '\n', 'a', 'é'),
    maxLength: 12,
  })
  fc.assert(
    fc.property(fc.oneof(hostile, fc.string()), value => {
      const segments = key(value).split('/')
      if (segments.length !== 3 || segments[0] !== 'data') return false
      if (segments.some(segment => /^\.{0,2}$/.test(segment))) return false
      return unescape(segments[1] ?? '') === `dt=${value === '' ? DEFAULT : value}`
    }),
  )
  const path = keysOf('data/{partition:path}')
  fc.assert(
    fc.property(fc.array(hostile, { minLength: 1, maxLength: 4 }), parts => {
      try {
        const segments = path(parts.join('/')).split('/')
        return segments[0] === 'data' && !segments.some(segment => /^\.{0,2}$/.test(segment))
      } catch (error) {
        return error instanceof TypeError
      }
    }),
  )
  t.end()
})

t.test('no record reaches the key of the manifest', t => {
  const key = keysOf('{partition:path}', { manifest: 'lists/{job}.json' })
  t.equal(key('lists/other.json'), 'lists/other.json')
  t.throws(() => key('lists/job.json'), { code: 'ERR_SPOOL_OBJECT_EXISTS' })
  t.end()
})

t.test('objects of hostile partitions are stored under their own keys', async t => {
  const work = await bench(t)
  const sink = rotate<string>(work.spool, {
    job: 'job',
    key: 'data/dt={partition}/{seq}',
    partitionBy: text => text,
  })
  const values = ['..', '.', 'a/b', 'a%2Fb', '../../x', 'a\nb', 'é', ' ', '?x=1', '#']
  await pipeline(Readable.from(values), sink)
  const { objects } = await sink.result
  t.equal(new Set(objects.map(({ key }) => key)).size, values.length)
  for (const [i, { key }] of objects.entries()) t.equal(String(await work.get(key)), values[i])
})

t.test('both hours of a fold share an object', async t => {
  const work = await bench(t)
  const sink = rotate<number>(work.spool, {
    job: 'job',
    key: '{yyyy}-{MM}-{dd}T{HH}',
    time: time => time,
    timeZone: 'Europe/Berlin',
    format: time => `${time}\n`,
  })
  const fold = Date.UTC(2026, 9, 25, 0, 30) // 02:30 in summer time, and an hour later 02:30 again
  await pipeline([fold, fold + 3_600_000, fold + 7_200_000], sink)
  const { objects } = await sink.result
  t.same(
    objects.map(({ key, records }) => [key, records]),
    [
      ['2026-10-25T02', 2],
      ['2026-10-25T03', 1],
    ],
  )
})
