/** Lines of any bytes in any chunks, and the limits of `split`. */
import * as fc from 'fast-check'
import t from 'tap'
import { LineSplitter } from '../../src/cli/line-splitter.js'
import { parseLimits } from '../../src/cli/split-options.js'
import { holds } from '../support/seed.js'

t.test('lines are the same in any chunks, and no byte is lost', async t => {
  const byte = fc.constantFrom(0, 10, 10, 13, 65, 255)
  const chunks = fc.array(fc.array(byte, { maxLength: 12 }).map(bytes => Buffer.from(bytes)))
  const property = fc.property(chunks, all => {
    const splitter = new LineSplitter(1000)
    const lines = [...all.flatMap(chunk => splitter.push(chunk)), ...splitter.end()]
    const text = Buffer.concat(all).toString('latin1')
    const expected = text.split(/(?<=\n)/).filter(line => line !== '')
    return lines.map(line => line.toString('latin1')).join('|') === expected.join('|')
  })
  await holds(t, property, 500)
})

t.test('a line that is too long is an error', async t => {
  const splitter = new LineSplitter(5)
  t.same(splitter.push(Buffer.from('1234\n12345')), [Buffer.from('1234\n')])
  t.throws(() => splitter.push(Buffer.from('\n')), { code: 'ERR_LINE_TOO_LONG' })
})

t.test('limits are sizes, times and numbers of lines; the lowest of a kind counts', async t => {
  t.same(parseLimits(['64MiB', '10m', '1000lines']), {
    bytes: 64 * 2 ** 20,
    ms: 600_000,
    records: 1000,
  })
  t.same(parseLimits(['10M', '1MiB', '2h', '30s', '1line']), {
    bytes: 2 ** 20,
    ms: 30_000,
    records: 1,
  })
  for (const wrong of ['', '0lines', '0s', '10x', '-1', '1.5lines', '25d']) {
    t.throws(() => parseLimits([wrong]), { code: 'ERR_USAGE' }, wrong)
  }
})
