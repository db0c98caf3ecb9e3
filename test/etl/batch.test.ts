/** Batches of records: their bytes and where they end. */
import * as fc from 'fast-check'
import t from 'tap'
import { RecordBatch } from '../../src/etl/batch.js'
import { holds } from '../support/seed.js'

t.test('a batch has the bytes of its records, and add() returns their sizes', async t => {
  const record = fc.oneof(
    fc.string(),
    fc.string({ unit: 'binary' }),
    fc.uint8Array(),
    fc.nat(100_000).map(size => 'é'.repeat(size)),
    fc.nat(100_000).map(size => new Uint8Array(size).fill(7)),
  )
  const property = fc.property(fc.array(fc.array(record)), batches => {
    const batch = new RecordBatch()
    for (const records of batches) {
      const expected = records.map(each => Buffer.from(each as string))
      const sizes = records.map(each => batch.add(each))
      t.strictSame(
        sizes,
        expected.map(({ length }) => length),
      )
      const all = Buffer.concat(expected)
      if (batch.isFull !== all.length >= 65_536) return false
      if (!Buffer.concat(batch.take()).equals(all)) return false
    }
    return !batch.isFull && batch.take().length === 0
  })
  await holds(t, property, 100)
})

t.test('a batch does not share memory with its records', t => {
  const batch = new RecordBatch()
  const record = Buffer.from('abc')
  batch.add(record)
  record.fill(0)
  t.equal(String(Buffer.concat(batch.take())), 'abc')
  t.end()
})
