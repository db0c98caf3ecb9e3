/** Rate and remaining time, with made-up clocks and networks. */
import t from 'tap'
import { TransferRate, type TransferSample } from '../../src/upload/model/transfer-rate.js'

interface Network {
  readonly size: number
  /** Bytes per ms at a time. */
  readonly rate: (at: number) => number
  /** Bytes that buffers on the way take, as soon as there are any. */
  readonly buffer?: number
  /** Bytes that are confirmed together. */
  readonly part: number
  /** Bytes in flight at most. */
  readonly window: number
  /** Bytes per ms that the source delivers. Default: all are on disk. */
  readonly source?: number
  /** Bytes that OSS has from an earlier run. */
  readonly found?: number
}

interface Estimate {
  readonly at: number
  readonly rate: number
  /** Estimated end, in ms. */
  readonly end: number | undefined
}

/** Simulates an upload, sampled every 200 ms. */
function simulate(network: Network): { estimates: Estimate[]; elapsed: number } {
  const { size, rate, buffer = 0, part, window, source = Infinity, found = 0 } = network
  const transferRate = new TransferRate()
  const estimates: Estimate[] = []
  let [at, busy, arrived] = [0, 0, found]
  for (; arrived < size; at += 10) {
    const spooled = source === Infinity ? size : Math.min(size, source * at)
    const cut = spooled === size ? size : Math.floor(spooled / part) * part
    const confirmed = Math.max(found, Math.floor(arrived / part) * part)
    const inFlight = Math.min(cut, confirmed + window)
    const sent = Math.min(inFlight, arrived + buffer)
    if (at % 200 === 0) {
      const unsent = inFlight - sent
      const sample: TransferSample = {
        at,
        busy,
        spooled,
        unsent,
        sent: sent - found,
        confirmed: confirmed - found,
      }
      transferRate.add(sample)
      const eta = transferRate.eta({ toSpool: size - spooled, toSend: size - sent })
      const end = eta === undefined ? undefined : at + eta * 1000
      estimates.push({ at, rate: transferRate.rate, end })
    }
    if (arrived < inFlight) busy += 10
    arrived = Math.min(inFlight, arrived + rate(at) * 10)
  }
  return { estimates, elapsed: at }
}

const MB = 1e6
const networks: Record<string, Network> = {
  'a plain network': { size: 30 * MB, rate: () => 1500, part: 8 * MB, window: 30 * MB },
  'buffers of 10 %': {
    size: 30 * MB,
    rate: () => 1500,
    part: 8 * MB,
    window: 30 * MB,
    buffer: 3 * MB,
  },
  'buffers that take all parts in flight': {
    size: 40 * MB,
    rate: () => 4000,
    part: 0.2 * MB,
    window: 1 * MB,
    buffer: 9 * MB,
  },
  'parts that are confirmed together': {
    size: 100 * MB,
    rate: () => 4000,
    part: 5 * MB,
    window: 5 * MB,
    buffer: 9 * MB,
  },
  'a source slower than the network': {
    size: 30 * MB,
    rate: () => 9000,
    part: 0.5 * MB,
    window: 3 * MB,
    source: 1500,
  },
  'a source slower than the network, large parts': {
    size: 90 * MB,
    rate: () => 50_000,
    part: 3 * MB,
    window: 15 * MB,
    source: 3000,
  },
  'a source that is slightly faster': {
    size: 30 * MB,
    rate: () => 1500,
    part: 0.5 * MB,
    window: 3 * MB,
    source: 1800,
  },
  'a resumed upload': {
    size: 30 * MB,
    rate: () => 1500,
    part: 1 * MB,
    window: 5 * MB,
    found: 20 * MB,
  },
}

for (const [name, network] of Object.entries(networks)) {
  t.test(
    `TransferRate estimates the end within a fifth after a tenth of the time: ${name}`,
    async t => {
      const { estimates, elapsed } = simulate(network)
      const late = estimates.filter(({ at }) => at >= Math.max(elapsed / 10, 1800))
      const bad = late.filter(({ end = Infinity }) => Math.abs(end - elapsed) > elapsed / 5)
      t.same(bad, [], `of ${elapsed} ms`)
      t.ok(late.length > 10)
    },
  )
}

t.test('TransferRate follows a network that changes its speed', async t => {
  for (const factor of [3, 1 / 3]) {
    const rate = (at: number): number => (at < 10_000 ? 3000 : 3000 * factor)
    const network = {
      size: 30 * MB + 15_000 * 3000 * factor,
      rate,
      part: 0.5 * MB,
      window: 2.5 * MB,
    }
    const { estimates, elapsed } = simulate(network)
    const settled = estimates.filter(({ at }) => at > 16_000)
    for (const { rate: now, end = Infinity } of settled) {
      t.ok(Math.abs(now / 1000 / (3000 * factor) - 1) < 0.2, `${now} of ${3e6 * factor}`)
      t.ok(Math.abs(end - elapsed) < elapsed / 5)
    }
  }
})

t.test('TransferRate has no estimate before bytes moved, nor while nothing moves', async t => {
  const transferRate = new TransferRate()
  const all = { toSpool: 0, toSend: 100 * MB }
  t.equal(transferRate.rate, 0)
  t.equal(transferRate.eta(all), undefined)
  const sample = { spooled: 100 * MB, unsent: MB, confirmed: 0 }
  for (let at = 0; at <= 3000; at += 200)
    transferRate.add({ ...sample, at, busy: at, sent: at * 1000 })
  t.ok(Math.abs(transferRate.rate - 1e6) < 1e4, String(transferRate.rate))
  const still = { toSpool: 0, toSend: 97 * MB }
  for (let at = 3200; at <= 9000; at += 200)
    transferRate.add({ ...sample, at, busy: at, sent: 3 * MB })
  t.equal(transferRate.rate, 0)
  t.equal(transferRate.eta(still), undefined)
})
