/**
 * Delays, attempts, retry time and congestion, with a virtual clock that advances only during pauses. An hour
 * takes a second, and every delay is an exact number.
 */
import { once } from 'node:events'
import { PassThrough } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { OssRequestError } from '../../src/oss/request-error.js'
import { Congestion } from '../../src/upload/transfer/concurrency.js'
import { retryDelay, withRetry, type RetryPolicy } from '../../src/upload/model/retry.js'
import { ownClock, useOwnClocks } from '../support/own-clock.js'
import { bench, bytes, streamOf } from '../support/oss.js'
import { long } from '../support/long.js'

useOwnClocks(t)

const PART = 102_400
const RETRY = { attempts: 5, minDelay: 200, maxDelay: 20_000 }
const HOUR = 3_600_000

const reset = () =>
  new OssRequestError({ name: 'ECONNRESET', message: 'm', operation: 'UploadPart' })
const recovered = () =>
  new OssRequestError({ name: 'x', message: 'm', operation: 'UploadPart', recovered: true })

t.test('the delays of withRetry()', async t => {
  /** Fails `failures` times. Resolves with the outcome, the number of attempts and the pauses. */
  const run = async (failures: number, more: Partial<RetryPolicy> = {}, fail = reset) => {
    const clock = ownClock()
    let tries = 0
    const attempt = async (): Promise<string> => {
      if (++tries <= failures) throw fail()
      return 'done'
    }
    const pause = (ms: number) => sleep(ms)
    const ended = await clock
      .run(() => withRetry(attempt, { retry: RETRY, pause, ...more }))
      .catch((error: Error) => error.name)
    return { ended, tries, pauses: clock.pauses }
  }

  t.test('delays double up to the longest', async t => {
    const flowing = { isUnlimited: () => true }
    const { pauses } = await run(9, flowing)
    t.same(pauses, [300, 500, 900, 1700, 3300, 6500, 10_100, 10_100, 10_100])
  })
  t.test('delays end after the last attempt', async t => {
    const pauses = [300, 500, 900, 1700]
    t.same(await run(4), { ended: 'done', tries: 5, pauses })
    t.same(await run(5), { ended: 'ECONNRESET', tries: 5, pauses })
  })
  t.test('delays and attempts start again after another part was acknowledged', async t => {
    let arrived = 0
    // Another part is acknowledged before every third failure.
    const progress = () => Math.floor(arrived++ / 3)
    const { ended, tries, pauses } = await run(30, { progress })
    t.match({ ended, tries }, { ended: 'done', tries: 31 })
    t.same(pauses.slice(0, 7), [300, 500, 300, 500, 900, 300, 500])
    t.ok(Math.max(...pauses) <= 900)
  })
  t.test('attempts continue within the retry time', async t => {
    const clock = ownClock()
    const until = performance.now() + HOUR
    const isWithinRetryTime = () => performance.now() < until
    let tries = 0
    const attempt = async (): Promise<never> => {
      tries++
      throw reset()
    }
    const pause = (ms: number) => sleep(ms)
    const work = withRetry.bind(null, attempt, { retry: RETRY, pause, isWithinRetryTime })
    await t.rejects(clock.run(work), { name: 'ECONNRESET' })
    const alone = clock.pauses.slice(0, 6)
    t.same(alone, [300, 500, 900, 1700, 3300, 6500])
    const expected = 6 + Math.ceil((HOUR - 13_200) / 10_100)
    // The real duration of hundreds of attempts counts, too.
    t.ok(expected - clock.pauses.length < 10, `${clock.pauses.length} of ${expected} pauses`)
    t.equal(tries, clock.pauses.length + 1)
  })
  t.test('the first three retries after a recovered cause have no delay', async t => {
    t.same(await run(3, {}, recovered), { ended: 'done', tries: 4, pauses: [0, 0, 0] })
    t.same(await run(5, {}, recovered), { ended: 'done', tries: 6, pauses: [0, 0, 0, 300, 500] })
    const pauses = [0, 0, 0, 300, 500, 900, 1700]
    t.same(await run(99, {}, recovered), { ended: 'x', tries: 8, pauses })
  })
})

t.test('Congestion', async t => {
  const delay = (times: number): number => retryDelay(RETRY, times)
  const under = (work: (congestion: Congestion) => Promise<void>): Promise<void> =>
    ownClock().run(() => work(new Congestion(16)))

  t.test(
    'the congestion limit is halved at each throttled reply after a pause, but never below 1',
    () =>
      under(async congestion => {
        const seen: number[][] = []
        for (let i = 0; i < 6; i++) {
          congestion.reduce(delay)
          seen.push([congestion.limit, Math.round(congestion.pause)])
          await sleep(congestion.pause)
        }
        t.same(seen, [
          [8, 300],
          [4, 500],
          [2, 900],
          [1, 1700],
          [1, 3300],
          [1, 6500],
        ])
        t.equal(congestion.pause, 0)
      }),
  )
  t.test('concurrent throttled replies reduce the congestion limit once', () =>
    under(async congestion => {
      for (let i = 0; i < 16; i++) congestion.reduce(delay)
      t.equal(congestion.limit, 8)
      t.ok(congestion.pause > 200 && congestion.pause <= 300, 'one pause')
    }),
  )
  t.test('the congestion limit grows by one per round of successes, up to its initial value', () =>
    under(async congestion => {
      for (let i = 0; i < 3; i++) {
        congestion.reduce(delay)
        await sleep(congestion.pause)
      }
      const rounds: number[] = []
      for (let round = 0; round < 20; round++) {
        // One more than the limit, because rounding leaves a round just below the next integer.
        for (let i = congestion.limit; i >= 0; i--) congestion.increase()
        rounds.push(congestion.limit)
      }
      t.ok(rounds[0] === 3 && rounds.every((limit, i) => limit - (rounds[i - 1] ?? 2) <= 2))
      t.equal(rounds.at(-1), 16)
      congestion.reduce(delay)
      t.ok(congestion.pause <= 300, 'the delay starts from the beginning')
    }),
  )
})

t.test('all parts of an upload back off when OSS throttles', async t => {
  const DELAY = 1_000
  const b = await bench(t, {
    spool: { parallel: 16, retry: { attempts: 20, minDelay: DELAY, maxDelay: DELAY } },
  })
  const of = { operation: 'UploadPart' } as const
  // All are refused at once: on a busy machine, refusals that trickle in would be more than one congestion.
  const gate = b.oss.inject({ ...of, do: 'hang', times: 16 })
  const refusal = {
    do: 'answer',
    at: 'received',
    status: 503,
    code: 'SlowDown',
    times: 16,
  } as const
  const refused = b.oss.inject({ ...of, ...refusal })
  const held = b.oss.inject({ ...of, do: 'hang', nth: 17, times: 'always' })
  const data = bytes(40 * PART)
  const done = b.spool.upload('k', () => streamOf(data, 1_000_000), { start: 'sealed' })
  await gate.hit(16)
  const refusedAt = Date.now()
  gate.remove()
  await held.hit(8)
  await sleep(DELAY)
  t.equal(refused.hits, 16)
  t.equal(held.hits, 8, 'half as many parts are in flight afterwards, although 16 were before')
  const sent = b.oss.requests.filter(({ operation }) => operation === 'UploadPart')
  const quiet = (sent[16]?.time ?? 0) - refusedAt
  t.ok(quiet >= DELAY - 5, `${quiet} ms without a request of any part`)
  for (const more of [8, 9, 10]) {
    const hits = held.hits
    held.release()
    await held.hit(hits + more)
    await sleep(50)
    t.equal(held.hits, hits + more, 'one more part per round of successes')
  }
  held.remove()
  t.equal((await done).size, data.length)
  t.ok((await b.get('k'))?.equals(data))
})

void long(t, 'an upload survives an hour without OSS during the stream', async t => {
  const minRetryTime = 2 * HOUR
  const b = await bench(t, { spool: { parallel: 1, retry: { ...RETRY, minRetryTime } } })
  const data = bytes(4 * PART)
  const clock = ownClock()
  await clock.run(async () => {
    const source = new PassThrough()
    const sink = b.spool.createWriteStream('k', { id: 'k' })
    const done = pipeline(source, sink)
    source.write(data.subarray(0, 2 * PART))
    while (b.count('UploadPart') < 1) await soon()
    const away = b.oss.inject({ do: 'reset', times: 'always' })
    source.write(data.subarray(2 * PART, 3 * PART))
    while (clock.passed < HOUR) await soon()
    t.match(
      await b.spool.uploads(),
      [{ phase: 'spooling', spooled: 3 * PART }],
      'the source is still read',
    )
    const flowing = clock.passed
    source.end(data.subarray(3 * PART))
    while ((await b.spool.uploads())[0]?.phase !== 'sealed') await soon()
    while (clock.passed < flowing + HOUR) await soon()
    t.ok(source.readableEnded && !sink.writableFinished, 'the source has ended, the sink waits')
    away.remove()
    await done
    t.match(await sink.result, { size: data.length, sourceRead: true })
  })
  t.ok((await b.get('k'))?.equals(data))
  t.equal(b.count('InitiateMultipartUpload'), 1, 'the upload id is kept')
  t.equal(b.warnings.length, 1, 'one warning for hundreds of attempts')
})

/** Resolves after 2 ms of the real clock. */
const soon = () => new Promise(resolve => setTimeout(resolve, 2))

t.test('resume() finishes an upload whose retry time has expired without the source', async t => {
  const b = await bench(t, { spool: { parallel: 1, retry: { ...RETRY, minRetryTime: HOUR } } })
  const away = b.oss.inject({ do: 'reset', times: 'always' })
  const data = bytes(3 * PART)
  const clock = ownClock()
  await clock.run(async () => {
    const sink = b.spool.createWriteStream('k', { id: 'k', start: 'sealed' })
    const done = pipeline(streamOf(data), sink)
    await t.rejects(done, { code: 'ERR_SPOOL_UPLOAD_FAILED', resumable: true })
    if (!sink.closed) await once(sink, 'close')
  })
  // The real time counts, too.
  t.ok(Math.abs(clock.passed - HOUR) < 60_000, `after ${clock.passed} ms`)
  t.same(clock.pauses.slice(0, 6), [300, 500, 900, 1700, 3300, 6500])
  away.remove()
  t.match(await b.another().resume('k'), { size: data.length, sourceRead: false })
  t.ok((await b.get('k'))?.equals(data))
})
