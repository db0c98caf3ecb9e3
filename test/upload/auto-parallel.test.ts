/** `parallel: 'auto'` on simulated lines, with a virtual clock; and that uploads do as it decides. */
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { AutoParallel } from '../../src/upload/transfer/auto-parallel.js'
import { Congestion } from '../../src/upload/transfer/concurrency.js'
import { bench, bytes, streamOf } from '../support/oss.js'

const MIB = 2 ** 20
const PART = 8 * MIB
/** Times closer than this are the same, in ms. */
const MOMENT = 1e-6

/** A line. Rates are in bytes/ms, times in ms. */
interface Line {
  /** Rate of all connections together. */
  readonly total: number
  /** Rate of each connection. */
  readonly each: number
  /** Time of a part besides its bytes. */
  readonly latency: number
  /** Parts beyond this many in flight are refused. */
  readonly refusedAbove?: number
  /** One of this many parts breaks. */
  readonly breaks?: number
  /** The rate of each part is changed by up to this fraction. */
  readonly noise?: number
  readonly size?: number
}

interface Measured {
  /** Throughput in bytes/ms over the second half of the parts. */
  readonly rate: number
  readonly refused: number
  /** The limit after each part. */
  readonly limits: readonly number[]
}

interface Flight {
  readonly start: number
  left: number
  readonly waits: number
  readonly fails: boolean
  readonly speed: number
}

/**
 * Sends `count` parts, with as many in flight as `control` allows.
 * @param from – time of the start, in ms
 */
function simulate(line: Line, count: number, control: AutoParallel | number, from = 0): Measured {
  const { size = PART, latency, noise = 0 } = line
  const random = randomOf()
  const limits: number[] = []
  const limit = (): number => (typeof control === 'number' ? control : control.limit)
  let flights: Flight[] = []
  let [now, done, started, half, refused] = [from, 0, 0, 0, 0]
  const startParts = (): void => {
    while (flights.length < limit()) {
      started++
      const isRefused =
        flights.filter(({ left }) => left > 0).length >= (line.refusedAbove ?? Infinity)
      const fails = isRefused || started % (line.breaks ?? Infinity) === 0
      const speed = 1 + noise * (2 * random() - 1)
      flights.push({ start: now, left: isRefused ? 0 : size, waits: now + latency, fails, speed })
    }
  }
  startParts()
  while (done < count) {
    const active = flights.filter(({ left, waits }) => left > 0 && waits <= now + MOMENT)
    const rateOf = ({ speed }: Flight): number =>
      Math.min(line.each, line.total / active.length) * speed
    const step = Math.min(
      ...flights.map(each =>
        each.waits > now + MOMENT ? each.waits - now : each.left / rateOf(each),
      ),
    )
    for (const each of active) each.left = Math.max(0, each.left - step * rateOf(each))
    now += step
    const ended = flights.filter(({ left, waits }) => left < 1e-3 && waits <= now + MOMENT)
    for (const each of ended) {
      const inFlight = flights.length
      flights = flights.filter(other => other !== each)
      if (each.fails) {
        refused++
        if (typeof control !== 'number') control.failed(each.start, now)
      } else {
        if (typeof control !== 'number') control.sent(size, each.start, now, inFlight)
        limits.push(limit())
        if (++done === count / 2) half = now
      }
      startParts()
    }
  }
  return { rate: (count * size) / 2 / (now - half), refused, limits }
}

/** Returns a generator of numbers from 0 to 1, the same in every run. */
function randomOf(): () => number {
  let state = 1
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}

const FIXED = [5, 8, 12, 16, 20, 24, 28, 32]
const best = (line: Line, count: number): number =>
  Math.max(...FIXED.map(parallel => simulate(line, count, parallel).rate))

/** Lines of 5 to 1,000 MB/s. */
const LINES: Readonly<Record<string, Line>> = {
  'a slow line': { total: 5000, each: 5000, latency: 50 },
  'a slow line whose connections are slower': { total: 5000, each: 700, latency: 50 },
  'a line for 12 connections': { total: 288_000, each: 24_000, latency: 100 },
  'a line for 27 connections': { total: 648_000, each: 24_000, latency: 100 },
  'a line for more than 32 connections': { total: 1e6, each: 24_000, latency: 100 },
  'a line without latency': { total: 700_000, each: 700_000, latency: 0 },
  'a line with small parts': { total: 1e5, each: 1e5, latency: 100, size: 102_400 },
  'a noisy slow line': { total: 5000, each: 5000, latency: 50, noise: 0.4 },
  'a noisy line for 12 connections': { total: 288_000, each: 24_000, latency: 100, noise: 0.4 },
  'a noisy fast line': { total: 1e6, each: 24_000, latency: 100, noise: 0.4 },
}

t.test(
  'AutoParallel reaches 90 % of the best fixed number, and is never slower than 5',
  async t => {
    for (const [name, line] of Object.entries(LINES)) {
      const { rate } = simulate(line, 2000, new AutoParallel())
      t.ok(rate > 0.9 * best(line, 2000), name)
      t.ok(rate > 0.98 * simulate(line, 2000, 5).rate, `${name}, compared with 5`)
    }
  },
)

t.test('AutoParallel settles within a quarter of the best fixed number', async t => {
  const settled = (line: Line): readonly number[] =>
    simulate(line, 2000, new AutoParallel()).limits.slice(1000)
  const slow = settled({ total: 5000, each: 5000, latency: 50 })
  t.ok(Math.max(...slow) <= 7, 'on a slow line')
  const fast = settled({ total: 1e6, each: 24_000, latency: 100 })
  t.ok(Math.min(...fast) >= 25, 'on a fast line')
  const medium = settled({ total: 288_000, each: 24_000, latency: 0 })
  t.ok(Math.min(...medium) >= 9 && Math.max(...medium) <= 15, 'on a line for 12 connections')
})

t.test('AutoParallel has 32 parts in flight after 35 parts on a fast line', async t => {
  const { limits } = simulate({ total: 1e6, each: 24_000, latency: 100 }, 64, new AutoParallel())
  t.same([limits[0], limits.at(34), limits.at(-1)], [5, 32, 32])
})

t.test('AutoParallel stays just below the number that OSS throttles', async t => {
  const line = { total: 1e6, each: 24_000, latency: 100, refusedAbove: 16 }
  const { rate, limits, refused } = simulate(line, 2000, new AutoParallel())
  t.ok(rate > 0.9 * simulate(line, 2000, 16).rate)
  t.ok(Math.max(...limits.slice(1000)) <= 20)
  t.ok(refused < 100, `${refused} of 2000 parts were refused`)
})

t.test('AutoParallel returns to 5 while the network breaks many parts', async t => {
  const line = { total: 1e6, each: 24_000, latency: 100, breaks: 20 }
  const { limits } = simulate(line, 1000, new AutoParallel())
  t.ok(Math.max(...limits.slice(500)) <= 7)
})

t.test('AutoParallel follows a line that becomes slower, and faster again', async t => {
  const auto = new AutoParallel()
  const fast = { total: 1e6, each: 24_000, latency: 100 }
  simulate(fast, 200, auto)
  t.equal(auto.limit, 32)
  simulate({ ...fast, total: 120_000 }, 2000, auto, 1e6)
  t.ok(auto.limit < 10)
  simulate(fast, 2000, auto, 1e9)
  t.ok(auto.limit >= 25)
})

t.test('AutoParallel counts failures of parts that were in flight together once', async t => {
  const auto = new AutoParallel()
  simulate({ total: 1e6, each: 24_000, latency: 100 }, 200, auto)
  for (let i = 0; i < 32; i++) auto.failed(1e6, 2e6 + i)
  t.equal(auto.limit, 25)
  auto.failed(3e6, 4e6)
  t.equal(auto.limit, 20)
  for (let i = 0; i < 32; i++) auto.failed(5e6 + 2 * i, 5e6 + 2 * i + 1)
  t.equal(auto.limit, 5)
})

t.test('a congestion limit follows its maximum unless it is reduced', async t => {
  const congestion = new Congestion(5)
  congestion.max = 32
  t.equal(congestion.limit, 32)
  congestion.reduce(() => 0)
  congestion.max = 25
  t.equal(congestion.limit, 16)
  congestion.max = 12
  t.equal(congestion.limit, 12)
  for (let i = 0; i < 100; i++) congestion.increase()
  t.equal(congestion.limit, 12)
})

t.test(
  'an upload has more parts in flight after a round of five, unless `parallel` is 5',
  async t => {
    for (const [parallel, most] of [
      ['auto', 10],
      [undefined, 10],
      [5, 5],
    ] as const) {
      const b = await bench(t, { spool: parallel === undefined ? {} : { parallel } })
      const of = { operation: 'UploadPart' } as const
      const held = b.oss.inject({ ...of, do: 'hang', nth: 13, times: 'always' })
      const data = bytes(40 * 102_400)
      const done = b.spool.upload('k', () => streamOf(data, 1_000_000), { start: 'sealed' })
      await held.hit(most)
      await sleep(100)
      t.equal(held.hits, most, String(parallel))
      held.remove()
      t.match(await done, { size: data.length, parts: 40 })
      t.ok((await b.get('k'))?.equals(data))
    }
  },
)

t.test('parts with `auto` in a bounded spool are as large as with 5', async t => {
  const b = await bench(t, { spool: { maxSpoolBytes: 6 * 102_400, partSize: 204_800 } })
  const data = bytes(40 * 102_400)
  const result = await b.spool.upload('k', () => streamOf(data, 1_000_000))
  t.equal(result.parts, 40)
  t.ok((await b.get('k'))?.equals(data))
  t.throws(() => b.another({ maxSpoolBytes: 6 * 102_400 - 1 }), RangeError)
})
