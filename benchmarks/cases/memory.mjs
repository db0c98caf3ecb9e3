/** Memory by the size of the stream. */
import { median, mib, MIB, rates, scaled, spread, table, verdict } from '../figures.mjs'

const SPEC = { partSize: 8 * MIB, parallel: 5, watchMemory: true }
const SHORT = { name: '256 MiB', size: 256 * MIB }
const LONG = { name: '4 GiB', size: 4096 * MIB }
/** Number of short runs: one may end before the first garbage collection. A long one averages itself. */
const SHORT_RUNS = 3

export const title = 'Memory: streams of 256 MiB and of 4 GiB'

export async function run(bench, { scale }) {
  return compareMemory(bench, { ...LONG, size: scaled(LONG.size, scale) })
}

/** Measures the memory of a short stream and of a `long` one. */
export async function compareMemory(bench, long) {
  const streams = { [`oss-spool, ${SHORT.name}`]: SHORT, [`oss-spool, ${long.name}`]: long }
  const measured = {}
  const rows = []
  const peaks = []
  const add = (label, size, all) => {
    measured[label] = all
    rows.push([label, peakOf(all).toFixed(0), spread(rates(size, all))])
  }
  for (const [label, { size }] of Object.entries(streams)) {
    const all = []
    for (let i = 0; i < (size === SHORT.size ? SHORT_RUNS : 1); i++) {
      all.push(await bench.run('oss-spool', { ...SPEC, size }))
    }
    add(label, size, all)
    peaks.push(peakOf(all))
  }
  const { name, size } = SHORT
  const theirs = await bench.run('lib-storage', { ...SPEC, size })
  add(`\`@aws-sdk/lib-storage\`, ${name}`, size, [theirs])
  const [small, large] = peaks
  return {
    measured,
    text: table(['', 'peak RSS MiB', 'MB/s'], rows),
    targets: [
      verdict('peak RSS, MB', (Math.max(...peaks) * MIB) / 1e6, {
        must: 120,
        reach: 100,
        atMost: true,
        digits: 0,
      }),
      verdict(`growth from ${name} to ${long.name}, %`, (large / small - 1) * 100, {
        must: 10,
        reach: 5,
        atMost: true,
        digits: 1,
      }),
    ],
  }
}

const peakOf = all => mib(median(all.map(({ rss }) => rss)))
