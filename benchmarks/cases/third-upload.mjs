/** Throughput once code is compiled and connections are open: the third upload of a process. */
import { median, MIB, rates, ratio, scaled, spread, table, verdict } from '../figures.mjs'

const SIZE = 512 * MIB
const SUBJECTS = {
  'oss-spool': 'oss-spool',
  'raw HTTP PUT': 'raw-put',
  '`@aws-sdk/lib-storage`': 'lib-storage',
}

export const title = 'Third upload of a process: 512 MiB, parts of 8 MiB, 5 in flight, loopback'

export async function run(bench, { runs, scale }) {
  const size = scaled(SIZE, scale)
  const spec = { size, partSize: 8 * MIB, parallel: 5, before: [size, size] }
  const cases = Object.entries(SUBJECTS).map(([label, subject]) => [label, { subject, ...spec }])
  const measured = await bench.compare(Object.fromEntries(cases), runs)
  const rate = label => rates(size, measured[label])
  const against = label => ratio(rate('oss-spool'), rate(label))
  return {
    measured,
    text: table(
      ['', 'MB/s', 'oss-spool ×', 'CPU s'],
      Object.entries(measured).map(([label, all]) => [
        label,
        spread(rate(label)),
        against(label).toFixed(2),
        median(all.map(({ cpu }) => cpu)).toFixed(2),
      ]),
    ),
    targets: [verdict('vs. raw HTTP PUT', against('raw HTTP PUT'), { must: 0.3, reach: 0.4 })],
  }
}
