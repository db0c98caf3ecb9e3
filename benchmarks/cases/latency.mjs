/** Parts in flight on a link with 100 ms latency. */
import { MIB, ratio, scaled, spread, table, verdict } from '../figures.mjs'

const SIZE = 64 * MIB
const SPEC = { subject: 'oss-spool', partSize: MIB / 4, before: [] }

export const title = '100 ms latency: 256 parts of 256 KiB, 1, 4 and 16 in flight'

export async function run(bench, { scale }) {
  await bench.ask('link', { latency: 100 })
  const size = scaled(SIZE, scale)
  const cases = Object.fromEntries(
    [1, 4, 16].map(parallel => [parallel, { ...SPEC, size, parallel }]),
  )
  // One round: it is all waiting (rounds differ by a thousandth), and a single part in flight takes half a minute.
  const measured = await bench.compare(cases, 1)
  const times = parallel => measured[parallel].map(({ ms }) => ms)
  return {
    measured,
    text: table(
      ['in flight', 's', 'speed-up'],
      [1, 4, 16].map(parallel => [
        parallel,
        spread(
          times(parallel).map(ms => ms / 1000),
          2,
        ),
        `${ratio(times(1), times(parallel)).toFixed(1)} ×`,
      ]),
    ),
    targets: [
      verdict('4 in flight vs. 1', ratio(times(1), times(4)), { must: 3, reach: 3.8 }),
      verdict('16 in flight vs. 1', ratio(times(1), times(16)), { must: 12, reach: 14 }),
    ],
  }
}
