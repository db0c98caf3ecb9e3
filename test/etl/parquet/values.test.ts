/** Values of Parquet columns: what each type accepts, what it stores, and what it refuses. */
import t from 'tap'
import { columnType } from '../../../src/etl/parquet/column-type.js'
import { RowReader } from '../../../src/etl/parquet/row.js'

/** Returns the stored form of each value; `undefined` where the type refuses it. */
function stored(type: string, values: readonly unknown[]): unknown[] {
  const column = columnType(type)
  if (column === undefined) throw new Error(`no type ${type}`)
  return values.map(value => column.store(value))
}

/** Values that no type but the named ones accepts. */
const ODD = [Symbol('s'), () => 1, new Date(NaN), NaN, Infinity]

t.test('an integer is stored exactly or refused', t => {
  t.same(stored('int32', [0, -0, 2 ** 31 - 1, -(2 ** 31)]), [0, 0, 2 ** 31 - 1, -(2 ** 31)])
  t.same(Object.is(stored('int32', [-0])[0], 0), true)
  t.strictSame(stored('int32', [2 ** 31, 1.5, 5n, '5', true, ...ODD]), Array(10).fill(undefined))
  const max = 2n ** 63n - 1n
  t.strictSame(stored('int64', [7, 2 ** 53 - 1, max, -max - 1n, `${max}`, '-12']), [
    7n,
    2n ** 53n - 1n,
    max,
    -max - 1n,
    max,
    -12n,
  ])
  const refused = [2 ** 53, 0.5, max + 1n, -max - 2n, `${max + 1n}`, '', ' 1', '1e3', '0x1', ...ODD]
  t.strictSame(stored('int64', refused), Array(refused.length).fill(undefined))
  t.end()
})

t.test('a double keeps every number except the sign of zero', t => {
  const [zero, ...rest] = stored('double', [-0, 0.1, -Infinity, NaN, 5e-324])
  t.ok(Object.is(zero, 0))
  t.strictSame(rest, [0.1, -Infinity, NaN, 5e-324])
  t.strictSame(stored('double', ['1', 1n, null, true]), Array(4).fill(undefined))
  t.end()
})

t.test('a decimal is never rounded', t => {
  const values = [
    '1.5',
    '-1.50',
    '0.010',
    '12345678.99',
    5n,
    -7,
    0.1,
    1e-2,
    '1e3',
    '100e-2',
    -0,
    '-0',
  ]
  t.strictSame(stored('decimal(10,2)', values), [
    150n,
    -150n,
    1n,
    1234567899n,
    500n,
    -700n,
    10n,
    1n,
    100000n,
    100n,
    0n,
    0n,
  ])
  const refused = ['1.005', 0.1 + 0.2, '100000000', 100000000n, 1e8, '', '.5', '1.', '+1', '1,5']
  t.strictSame(stored('decimal(10,2)', refused), Array(refused.length).fill(undefined))
  t.strictSame(stored('decimal(10,2)', ODD), Array(ODD.length).fill(undefined))
  t.strictSame(stored('decimal(38,10)', [1e-7, 2 ** 53, '1e-10', '1e-11']), [
    1000n,
    undefined,
    1n,
    undefined,
  ])
  const most = '9'.repeat(38)
  t.strictSame(stored('decimal(38,0)', [most, `-${most}`, `1${most}`]), [
    BigInt(most),
    -BigInt(most),
    undefined,
  ])
  t.strictSame(stored('decimal(2,2)', ['0.99', '1']), [99n, undefined])
  t.end()
})

t.test('a long text is refused as a decimal without work', t => {
  const texts = [
    '1'.repeat(1e6),
    `${'0'.repeat(1e6)}x`,
    `1.${'0'.repeat(1e6)}`,
    '1e999999999',
    '1e999',
  ]
  t.strictSame(stored('decimal(38,10)', texts), Array(texts.length).fill(undefined))
  t.end()
})

t.test('the digits of a decimal type are 1 to 38, and no more after the point than in all', t => {
  for (const type of ['decimal(1,0)', 'decimal(38,38)', 'decimal(10,2)'])
    t.ok(columnType(type), type)
  const wrong = ['decimal', 'decimal()', 'decimal(0,0)', 'decimal(39,0)', 'decimal(2,3)']
  const others = [
    'decimal(5)',
    'decimal(5, 2)',
    'decimal(-5,2)',
    'Decimal(5,2)',
    'toString',
    '__proto__',
  ]
  for (const type of [...wrong, ...others, '', 5, null]) t.equal(columnType(type), undefined)
  t.end()
})

t.test('a timestamp keeps microseconds and needs a time zone', t => {
  const us = BigInt(Date.UTC(2026, 10, 24, 8, 0, 0, 123)) * 1000n
  const values = [
    new Date(Date.UTC(2026, 10, 24, 8, 0, 0, 123)),
    Date.UTC(2026, 10, 24, 8, 0, 0, 123),
    '2026-11-24T08:00:00.123Z',
    '2026-11-24T16:00:00.123+08:00',
    '2026-11-24T02:30:00.123-05:30',
    '2026-11-24T08:00:00.123000000Z',
  ]
  t.strictSame(stored('timestamp', values), Array(6).fill(us))
  t.strictSame(
    stored('timestamp', ['2026-11-24T08:00:00.123456Z', '1969-12-31T23:59:59.999999Z', 0]),
    [us + 456n, -1n, 0n],
  )
  t.strictSame(stored('timestamp', [-8.64e15, 8.64e15]), [
    -8640000000000000000n,
    8640000000000000000n,
  ])
  const refused = [
    '2026-11-24',
    '2026-11-24T08:00:00',
    '2026-11-24 08:00:00Z',
    '2026-02-29T08:00:00Z',
    '2026-11-24T24:00:00Z',
    '2026-11-24T08:60:00Z',
    '2026-11-24T08:00:60Z',
    '2026-11-24T08:00:00+24:00',
    '2026-11-24T08:00:00.1234567Z',
    'Tue Nov 24 2026',
    0.5,
    8.64e15 + 1000,
    0n,
  ]
  t.strictSame(stored('timestamp', [...refused, ...ODD]), Array(refused.length + 5).fill(undefined))
  t.end()
})

t.test('a date is a day, so that a Date must be at midnight UTC', t => {
  const day = Date.UTC(2026, 1, 28) / 86_400_000
  const values = ['2026-02-28', new Date(Date.UTC(2026, 1, 28)), '1970-01-01', '0001-01-01']
  t.strictSame(stored('date', values), [day, day, 0, -719162])
  const refused = [new Date(Date.UTC(2026, 1, 28, 8)), '2026-02-29', '2026-2-28', '2026-13-01', 0]
  t.strictSame(
    stored('date', [...refused, '2026-02-28T00:00:00Z', ...ODD]),
    Array(11).fill(undefined),
  )
  t.end()
})

t.test('texts, booleans, JSON, UUIDs and bytes are taken as they are', t => {
  t.strictSame(stored('string', ['', 'é😀', '\ud800', 5, new String('x')]), [
    '',
    'é😀',
    undefined,
    undefined,
    undefined,
  ])
  t.strictSame(stored('boolean', [true, false, 0, 'true']), [true, false, undefined, undefined])
  t.strictSame(stored('json', [{ a: [1, null] }, 'x', 5, () => 1]), [
    '{"a":[1,null]}',
    '"x"',
    '5',
    undefined,
  ])
  const uuid = '0E984725-c51c-4bf4-9960-e1c80e27aba0'
  t.strictSame(stored('uuid', [uuid, uuid.replaceAll('-', ''), `${uuid}0`, `{${uuid}}`]), [
    uuid.toLowerCase(),
    undefined,
    undefined,
    undefined,
  ])
  const bytes = Buffer.from([1, 2])
  const [copy] = stored('bytes', [bytes])
  bytes.fill(0)
  t.strictSame(copy, new Uint8Array([1, 2]))
  t.strictSame(stored('bytes', ['x', [1], new Uint16Array(1)]), Array(3).fill(undefined))
  t.end()
})

t.test('a row names the column or the property that is wrong', t => {
  const required = { id: 'int32', text: 'string', 'odd "name"': 'json' }
  const columns = Object.entries(required).map(([name, type]) => {
    const found = columnType(type)
    if (found === undefined) throw new Error(type)
    return { name, type: found, isOptional: name === 'text' }
  })
  const reader = new RowReader(columns, { ignoresExtraColumns: false })
  const row = { id: 1, 'odd "name"': 2 }
  t.strictSame(reader.read(row), [1, undefined, '2'])
  t.strictSame(reader.read({ ...row, text: null }), [1, undefined, '2'])
  t.strictSame(reader.read({ ...row, other: undefined }), [1, undefined, '2'])
  const wrong: [record: unknown, message: RegExp][] = [
    [{ ...row, id: 'x'.repeat(1e6) }, /^The column 'id' .{1,300}$/],
    [{ ...row, id: null }, /'id'/],
    [{ 'odd "name"': 2 }, /'id'.*undefined/],
    [{ ...row, 'odd "name"': 5n }, /'odd "name"'/],
    [{ ...row, text: 5 }, /'text'/],
    [{ ...row, other: null }, /'other'/],
    [[1, 'x', 2], /object/],
    [null, /object/],
    ['text', /object/],
  ]
  for (const [record, message] of wrong) {
    t.throws(() => reader.read(record), { name: 'TypeError', message })
  }
  const failing = { toJSON: (): unknown => undefined }
  failing.toJSON = () => {
    throw new Error('cannot')
  }
  t.throws(() => reader.read({ ...row, 'odd "name"': failing }), { cause: { message: 'cannot' } })
  const lenient = new RowReader(columns, { ignoresExtraColumns: true })
  t.strictSame(lenient.read({ ...row, other: 5 }), [1, undefined, '2'])
  t.end()
})

t.test('a getter of a class is a value of its records', t => {
  const type = columnType('string')
  if (type === undefined) throw new Error('string')
  class Person {
    get name(): string {
      return 'Ada'
    }
  }
  const reader = new RowReader([{ name: 'name', type, isOptional: false }], {})
  t.strictSame(reader.read(new Person()), ['Ada'])
  t.end()
})

t.test('a member of every object is no value of a record', t => {
  const type = columnType('string')
  if (type === undefined) throw new Error('string')
  const names = ['constructor', 'toString', '__proto__', 'hasOwnProperty']
  const columns = names.map(name => ({ name, type, isOptional: true }))
  const reader = new RowReader(columns, { ignoresExtraColumns: false })
  t.strictSame(reader.read({}), Array(4).fill(undefined))
  const own: unknown = JSON.parse('{"__proto__":"own","toString":"x"}')
  t.strictSame(reader.read(own), [undefined, 'x', 'own', undefined])
  t.end()
})
