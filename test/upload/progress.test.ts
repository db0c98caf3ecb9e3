/** The `progress` event while parts are in flight, over a network of limited bandwidth. */
import { Readable } from 'node:stream'
import t, { type Test } from 'tap'
import { parseSendQueues } from '../../src/oss/body-meter.js'
import type { ProgressEvent } from '../../src/index.js'
import { bench, bytes, streamOf } from '../support/oss.js'

const RATE = 1.5e6

/** Returns a listener that records events. */
function recorder(): { events: ProgressEvent[]; onProgress: (event: ProgressEvent) => void } {
  const events: ProgressEvent[] = []
  return { events, onProgress: event => void events.push(event) }
}

/** Asserts what always holds for the counts of one upload. */
function assertCounts(t: Test, events: readonly ProgressEvent[], size: number): void {
  let before = 0
  for (const { sent, uploaded } of events) {
    t.ok(sent >= before && sent >= uploaded && sent <= size, `${before} ${uploaded} ${sent}`)
    before = sent
  }
  t.equal(before, size)
}

// How exact the estimates are is measured by `npm run bench -- progress`.
t.test('parts in flight count while they leave, and the end is estimated', async t => {
  const b = await bench(t, { emulator: { link: { totalBandwidth: RATE } } })
  const data = bytes(12 * 2 ** 20)
  const { events, onProgress } = recorder()
  const source = (): Readable => streamOf(data, 2 ** 20)
  const options = { partSize: 4 * 2 ** 20, size: data.length, onProgress }
  const result = await b.spool.upload('k', source, options)
  t.equal(result.sent, data.length)
  assertCounts(t, events, data.length)
  const early = events.filter(({ sent, uploaded }) => sent > 0 && uploaded === 0)
  t.ok(new Set(early.map(({ sent }) => sent)).size > 2, `${early.length} events`)
  for (const { eta } of events.slice(-5)) t.ok(eta !== undefined && eta >= 0, String(eta))
})

t.test('an object of a single request reports its bytes while they leave', async t => {
  const b = await bench(t, { emulator: { link: { totalBandwidth: RATE } } })
  const data = bytes(6e6)
  const { events, onProgress } = recorder()
  const options = { partSize: 8 * 2 ** 20, onProgress }
  const { parts } = await b.spool.upload('k', () => streamOf(data, 2 ** 20), options)
  t.equal(parts, 1)
  assertCounts(t, events, data.length)
  const between = events.filter(({ sent }) => sent > 0 && sent < data.length)
  t.ok(new Set(between.map(({ sent }) => sent)).size > 2, `${between.length} events`)
})

t.test('a part that is sent again neither reduces the bytes sent nor counts twice', async t => {
  const b = await bench(t, { emulator: { link: { totalBandwidth: RATE } } })
  b.oss.inject({ operation: 'UploadPart', partNumber: 1, at: 'received', do: 'reset' })
  const data = bytes(2e6)
  const { events, onProgress } = recorder()
  const options = { partSize: 2 ** 20, onProgress }
  const { sent } = await b.spool.upload('k', () => streamOf(data), options)
  t.equal(sent, data.length, 'the result counts what was acknowledged')
  assertCounts(t, events, data.length)
})

t.test(
  'a resumed upload begins with the bytes that OSS has, and its rate leaves them out',
  async t => {
    const b = await bench(t)
    const data = bytes(3e6)
    b.oss.inject({
      operation: 'UploadPart',
      partNumber: 5,
      do: 'answer',
      status: 403,
      code: 'AccessDenied',
    })
    const options = { id: 'k', partSize: 512 * 1024, parallel: 1 }
    await t.rejects(
      b.spool.upload('k', () => streamOf(data), options),
      { code: 'ERR_SPOOL_DENIED' },
    )
    b.oss.link = { totalBandwidth: 500_000 }
    const { events, onProgress } = recorder()
    const { skipped } = await b.another().resume('k', { onProgress })
    assertCounts(t, events, data.length)
    t.ok(skipped > 0)
    const first = events.find(({ sent }) => sent > 0)!
    t.ok(first.sent >= skipped, `${first.sent} of ${skipped}`)
    for (const { rate } of events) t.ok(rate < 1e6, String(rate))
  },
)

t.test('the kernel table gives the queue of each connection', async t => {
  const table = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000005 00:00000000 00000000
   1: 0100007F:C350 0100007F:1F90 01 00280000:00000000 01:00000014 00000000
  12: 0000000000000000FFFF00000100007F:C351 0000000000000000FFFF00000100007F:1F90 01 000000FF:00000000 01:0
  13: 0100007F:C352 0100007F:1F90 01 00000000:00000000 00:00000000 00000000`
  t.strictSame(
    [...parseSendQueues(table)],
    [
      ['C350:1F90', 0x280000],
      ['C351:1F90', 0xff],
    ],
  )
  t.equal(parseSendQueues('').size, 0)
})

t.test('a declared size is known from the first event', async t => {
  const b = await bench(t)
  const data = bytes(300_000)
  const { events, onProgress } = recorder()
  const source = (): Readable => streamOf(data)
  await b.spool.upload('k', source, { size: data.length, onProgress })
  for (const event of events.slice(1)) t.match(event, { size: data.length, parts: { total: 3 } })
})
