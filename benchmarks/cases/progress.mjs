/** How early and how exactly `progress` foretells the end of an upload over a slow link. */
import { MIB, median, spread, table, verdict } from '../figures.mjs'

const SPEC = { size: 32 * MIB, partSize: 8 * MIB, parallel: 3, before: [] }
const LINK = { totalBandwidth: 1.5e6 }

export const title = 'Progress: 32 MiB in parts of 8 MiB on a link of 1.5 MB/s'

export async function run(bench) {
  await bench.ask('link', LINK)
  const { progress } = await bench.compare(
    { progress: { subject: 'progress', ...SPEC } },
    1, // it is all waiting, and takes 22 s
  )
  const percent = name => progress.map(one => one[name] * 100)
  return {
    measured: { progress },
    text: table(
      ['estimate of the end', '% of the duration'],
      [
        ['time until the first one', spread(percent('firstEta'))],
        ['largest error after a tenth of the time', spread(percent('worst'))],
      ],
    ),
    targets: [
      verdict(
        'largest error of the estimated end, in % of the duration',
        median(percent('worst')),
        {
          must: 20,
          reach: 10,
          atMost: true,
          digits: 0,
        },
      ),
    ],
  }
}
