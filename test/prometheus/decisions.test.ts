/** Labels, ages and shared readings. */
import t from 'tap'
import { CachedReading } from '../../src/prometheus/cached-reading.js'
import { failureCode } from '../../src/prometheus/failure-code.js'
import { oldestSealedAge } from '../../src/prometheus/spool-metrics.js'
import type { UploadStatus } from '../../src/index.js'
import { until } from '../support/command-line.js'

t.test('the label of a failure is a code of this package, of Node, or "other"', async t => {
  const withCode = (code: string): Error => Object.assign(new Error('failed'), { code })
  t.equal(failureCode(withCode('ERR_SPOOL_DENIED')), 'ERR_SPOOL_DENIED')
  t.equal(failureCode(withCode('ERR_INVALID_ARG_TYPE')), 'ERR_INVALID_ARG_TYPE')
  t.equal(failureCode(new Error('ERR_SPOOL_IO: the disk failed')), 'ERR_SPOOL_IO')
  t.equal(failureCode(withCode('ORDER_4711_MISSING')), 'other')
  t.equal(failureCode(withCode(`ERR_SPOOL_${'X'.repeat(100)}`)), 'other')
  t.equal(failureCode(new Error('order 4711 is missing')), 'other')
})

t.test('the oldest seal or commit decides the age of sealed uploads', async t => {
  const now = Date.parse('2026-01-01T01:00:00Z')
  // Only the times matter.
  const status = (times: Partial<UploadStatus>) => times as UploadStatus
  t.equal(oldestSealedAge([], now), 0)
  t.equal(oldestSealedAge([status({})], now), 0)
  const uploads = [
    status({ sealedAt: '2026-01-01T00:59:00Z' }),
    status({ committedAt: '2026-01-01T00:58:00Z' }),
  ]
  t.equal(oldestSealedAge(uploads, now), 120_000)
})

t.test('callers share a reading until it is too old', async t => {
  let reads = 0
  const reading = new CachedReading(async () => ++reads, { maxAge: 200, timeout: 10_000 })
  t.same(await Promise.all([reading.get(), reading.get()]), [1, 1])
  await until(async () => (await reading.get()) === 2)
  t.equal(reads, 2)
})

t.test('a reading that fails is undefined, and is repeated', async t => {
  let reads = 0
  const read = async (): Promise<number> => {
    if (++reads === 1) throw new Error('unreachable')
    return reads
  }
  const reading = new CachedReading(read, { maxAge: 1, timeout: 10_000 })
  t.equal(await reading.get(), undefined)
  await until(async () => (await reading.get()) !== undefined)
})

t.test('a reading that hangs is undefined, and no other one starts meanwhile', async t => {
  let reads = 0
  let finish = (): void => {}
  const read = (): Promise<void> => {
    reads++
    return new Promise(resolve => (finish = resolve))
  }
  const reading = new CachedReading(read, { maxAge: 1, timeout: 1 })
  t.equal(await reading.get(), undefined)
  t.equal(await reading.get(), undefined)
  t.equal(reads, 1)
  finish()
  await until(async () => {
    void reading.get()
    return reads > 1
  })
})
