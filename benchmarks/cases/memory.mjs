/** Memory by the size of the stream. */
import { median, mib, MIB, rates, spread, table, verdict } from '../figures.mjs'

const SPEC = { partSize: 8 * MIB, parallel: 5, watchMemory: true }
const SIZES = { '256 MiB': 256 * MIB, '16 GiB': 16_384 * MIB }
/** Number of runs. A short run may end before the first garbage collection; a long one averages itself. */
const RUNS = { '256 MiB': 3, '16 GiB': 1 }

export const title = 'Memory: streams of 256 MiB and of 16 GiB'

export async function run(bench) {
  const measured = {}
  for (const [label, size] of Object.entries(SIZES)) {
    const all = (measured[`oss-spool, ${label}`] = [])
    for (let i = 0; i < RUNS[label]; i++) all.push(await bench.run('oss-spool', { ...SPEC, size }))
  }
  measured['`@aws-sdk/lib-storage`, 256 MiB'] = [
    await bench.run('lib-storage', { ...SPEC, size: SIZES['256 MiB'] }),
  ]
  const peaks = Object.keys(SIZES).map(label => peakOf(measured[`oss-spool, ${label}`]))
  const [small, large] = peaks
  const sizeOf = label => SIZES[label.split(', ').at(-1)]
  return {
    measured,
    text: table(
      ['', 'peak RSS MiB', 'MB/s'],
      Object.entries(measured).map(([label, all]) => [
        label,
        peakOf(all).toFixed(0),
        spread(rates(sizeOf(label), all)),
      ]),
    ),
    targets: [
      verdict('peak RSS, MB', (Math.max(...peaks) * MIB) / 1e6, {
        must: 150,
        reach: 100,
        atMost: true,
        digits: 0,
      }),
      verdict('difference, %', (Math.abs(large - small) / small) * 100, {
        must: 10,
        reach: 5,
        atMost: true,
        digits: 1,
      }),
    ],
  }
}

const peakOf = all => mib(median(all.map(({ rss }) => rss)))
