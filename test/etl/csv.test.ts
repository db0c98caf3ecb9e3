/** `csv()`: columns, values and options. */
import { parse } from 'node:path'
import { pipeline } from 'node:stream/promises'
import t from 'tap'
import { csv, rotate, type CsvOptions } from '../../src/etl/index.js'
import { bench } from '../support/oss.js'

type Row = Record<string, unknown>

t.test('columns are those of the first record', async t => {
  const format = await csv<Row>()
  t.equal(format({ id: 1, name: 'a "b", c' }, true), 'id,name\n1,"a ""b"", c"\n')
  t.equal(format({ name: 'x', id: 2 }, false), '2,x\n')
  t.equal(format({ name: 'x', id: 2, more: undefined }, false), '2,x\n')
  t.equal(format({}, true), 'id,name\n,\n', 'missing properties are empty')
  t.equal(format({ id: null, name: undefined }, false), ',\n')
})

t.test(
  'an empty field that is alone on its line is quoted, so that no reader skips it',
  async t => {
    const format = await csv<Row>({ columns: ['a'] })
    t.equal(format({ a: '' }, true), 'a\n""\n')
    t.equal(format({}, false), '""\n')
    const own = await csv<Row>({ columns: ['a'], quotedEmpty: false })
    t.equal(own({}, false), '\n')
    const two = await csv<Row>({ columns: ['a'], rest: 'b' })
    t.equal(two({}, false), ',\n')
  },
)

t.test('a property without a column is an error that names it', async t => {
  const learned = await csv<Row>()
  learned({ id: 1 }, true)
  const given = await csv<Row>({ columns: ['id'] })
  for (const format of [learned, given]) {
    t.throws(() => format({ id: 1, more: 2 }, false), { name: 'TypeError', message: /"more"/ })
    t.throws(() => format({ id: 1, more: null }, false), TypeError, 'null is a value')
    t.equal(format({ id: 3 }, false), '3\n', 'the next record is not affected')
  }
  const many = Object.fromEntries(Array.from({ length: 10_000 }, (_, i) => [`p${i}`, i]))
  t.throws(() => given(many, false), { message: /"p9" and 9990 more/ })
})

t.test('extraColumns and rest say what to do with properties without a column', async t => {
  const ignore = await csv<object>({ columns: ['id'], extraColumns: 'ignore' })
  t.equal(ignore({ id: 1, more: 2 }, true), 'id\n1\n')
  t.equal(ignore([1, 2, 3], false), '1\n')
  const rest = await csv<object>({ columns: ['id'], rest: 'other' })
  t.equal(rest({ id: 1 }, true), 'id,other\n1,\n')
  t.equal(rest({ b: [2], id: 1, a: 'x' }, false), '1,"{""b"":[2],""a"":""x""}"\n')
  t.equal(rest([1, 2, 3], false), '1,"[2,3]"\n')
  const learned = await csv<Row>({ rest: 'other' })
  t.throws(() => learned({ id: 1, other: 2 }, true), { code: 'ERR_INVALID_ARG_VALUE' })
  t.equal(learned({ id: 1 }, true), 'id,other\n1,\n', 'a refused record decides no columns')
  t.equal(learned({ id: 1, other: 2 }, false), '1,"{""other"":2}"\n')
})

t.test('booleans, dates and objects have readable texts, which cast overrides', async t => {
  const at = new Date(Date.UTC(2026, 10, 24, 8))
  const columns = ['a', 'b', 'at', 'big', 'zero', 'list']
  const record = { a: true, b: false, at, big: 2n ** 64n, zero: -0, list: [1, { x: 'y' }] }
  const format = await csv<Row>({ columns, header: false })
  t.equal(
    format(record, true),
    'true,false,2026-11-24T08:00:00.000Z,18446744073709551616,0,"[1,{""x"":""y""}]"\n',
  )
  const cast = { boolean: (value: boolean) => (value ? 'yes' : 'no'), date: undefined }
  const own = await csv<Row>({ columns: ['a', 'at'], header: false, cast })
  t.equal(
    own({ a: true, at }, true),
    'yes,2026-11-24T08:00:00.000Z\n',
    'the second one has its default',
  )
  t.throws(() => format({ at: new Date('no') }, false), RangeError)
  t.throws(() => format({ a: Symbol('s') }, false), Error)
  t.same(Object.keys(cast), ['boolean', 'date'], 'options are not changed')
})

t.test('records that are arrays need columns and must not be longer', async t => {
  const format = await csv({ columns: ['a', 'b'], header: false, delimiter: ';' })
  t.equal(format([1, 2], true), '1;2\n')
  t.equal(format([1], false), '1;\n')
  t.throws(() => format([1, 2, 3], false), { code: 'ERR_INVALID_ARG_VALUE' })
  const without = await csv()
  t.throws(() => without([1, 2], true), { code: 'ERR_INVALID_ARG_TYPE' })
  without({ a: 1, b: 2 }, true)
  t.throws(() => without([1, 2], true), { code: 'ERR_INVALID_ARG_TYPE' })
})

t.test('a record without properties is an error', async t => {
  const format = await csv()
  for (const record of [null, undefined, 7, 'text', Buffer.from('x'), new Uint16Array(2)]) {
    t.throws(() => format(record as object, true), { code: 'ERR_INVALID_ARG_TYPE' })
  }
  t.throws(() => format({}, true), { code: 'ERR_INVALID_ARG_VALUE' })
  const throwing = new Proxy(
    {},
    {
      ownKeys: () => {
        throw new Error('no keys')
      },
    },
  )
  t.throws(() => format(throwing, true), { message: 'no keys' })
  t.equal(format({ a: 1 }, true), 'a\n1\n', 'refused records decide no columns')
})

t.test('names are those of properties, with any characters', async t => {
  const names = ['a.b', 'a[0]', 'constructor', 'toString', 'a,b', '']
  const columns = names.slice(0, -1)
  const format = await csv<Row>({ columns })
  const record = Object.fromEntries(columns.map((name, i) => [name, i]))
  t.equal(format(record, true), 'a.b,a[0],constructor,toString,"a,b"\n0,1,2,3,4\n')
  t.equal(format({ a: undefined }, false), ',,,,\n')
  await t.rejects(csv({ columns: names }), { code: 'ERR_INVALID_ARG_TYPE' })
  const renamed = await csv<Row>({ columns: [{ key: 'id', header: 'Id' }, { key: 'name' }] })
  t.equal(renamed({ id: 1, name: 'x' }, true), 'Id,name\n1,x\n')
  class Item {
    readonly id = 1
    get total(): number {
      return 5
    }
  }
  t.equal((await csv<Item>({ columns: ['id', 'total'] }))(new Item(), false), '1,5\n')
})

t.test('options of csv-stringify apply, once per object where they concern its start', async t => {
  const options = { columns: ['a'], bom: true, quoted: true, record_delimiter: '\r\n' }
  const format = await csv<Row>(options)
  t.equal(format({ a: 1 }, true), '\ufeff"a"\r\n"1"\r\n')
  t.equal(format({ a: 2 }, false), '"2"\r\n')
  const camelCase = await csv<Row>({ columns: ['a'], header: false, quotedString: true })
  t.equal(camelCase({ a: 'x' }, true), '"x"\n')
})

t.test('invalid options are rejected', async t => {
  const wrong: readonly [code: string, options: object][] = [
    ['ERR_INVALID_ARG_TYPE', { columns: 'a' }],
    ['ERR_INVALID_ARG_TYPE', { columns: [1] }],
    ['ERR_INVALID_ARG_TYPE', { columns: [null] }],
    ['ERR_INVALID_ARG_TYPE', { columns: [{ key: 'a', header: 1 }] }],
    ['ERR_INVALID_ARG_VALUE', { columns: [] }],
    ['ERR_INVALID_ARG_VALUE', { columns: ['a', 'a'] }],
    ['ERR_INVALID_ARG_TYPE', { header: 'yes' }],
    ['ERR_INVALID_ARG_VALUE', { extraColumns: 'drop' }],
    ['ERR_INVALID_ARG_TYPE', { rest: '' }],
    ['ERR_INVALID_ARG_VALUE', { columns: ['a'], rest: 'a' }],
    ['ERR_INVALID_ARG_VALUE', { rest: 'a', extraColumns: 'ignore' }],
    ['ERR_INVALID_ARG_TYPE', { cast: 7 }],
    ['ERR_INVALID_ARG_VALUE', { delimiter: 7 }],
    ['ERR_INVALID_ARG_VALUE', { escape: 'ab' }],
    ['ERR_INVALID_ARG_VALUE', { extracolumns: 'ignore' }],
    ['ERR_INVALID_ARG_VALUE', { eof: false }],
    ['ERR_INVALID_ARG_VALUE', { on_record: () => null }],
  ]
  for (const [code, options] of wrong) {
    await t.rejects(
      csv(options as CsvOptions),
      { code, name: 'TypeError' },
      JSON.stringify(options),
    )
  }
  await t.rejects(csv(7 as never), { code: 'ERR_INVALID_ARG_TYPE' })
})

t.test(
  'each job takes the columns of its own first record, and all its objects have them',
  async t => {
    const work = await bench(t)
    const format = await csv<Row>()
    const run = async (job: string, records: readonly Row[]): Promise<string[]> => {
      const options = { job, key: '{job}/{partition}-{seq}', format, every: { records: 2 } }
      const sink = rotate<Row>(work.spool, { ...options, partitionBy: ({ of }) => String(of) })
      await pipeline(records, sink)
      const { objects } = await sink.result
      const contents = objects.map(
        async ({ key }) => `${parse(key).base} ${String(await work.get(key))}`,
      )
      return Promise.all(contents)
    }
    const first = [{ of: 'A', id: 1 }, { id: 2, of: 'B' }, { of: 'A' }, { id: 4, of: 'A' }]
    const expected = ['A-0 of,id\nA,1\nA,\n', 'B-0 of,id\nB,2\n', 'A-1 of,id\nA,4\n']
    t.same(await run('first', first), expected)
    t.same(await run('second', [{ id: 1, of: 'A' }]), ['A-0 id,of\n1,A\n'])
    t.same(await run('first', first), expected, 'a rerun agrees with its objects')
  },
)
