/** 10,000 parts of 100 KiB: costs that grow with the number of parts, and bytes written for checkpoints. */
import { median, mib, MIB, ratio, spread, table, verdict } from '../figures.mjs'

const PARTS = 10_000
const PART = 100 * 1024
const SPEC = { size: PARTS * PART, partSize: PART, parallel: 5 }

export const title = '10,000 parts of 100 KiB, 5 in flight'

export async function run(bench, { runs }) {
  const measured = await bench.compare(
    {
      'oss-spool': { subject: 'oss-spool', ...SPEC, watchCheckpoints: true },
      'plain `uploadPart` loop and `fs.createWriteStream`': { subject: 'part-loop', ...SPEC },
    },
    Math.min(runs, 2), // a plain loop takes 25 s, and is four times as slow
  )
  const [ours, theirs] = Object.values(measured)
  const written = median(ours.map(({ checkpoints }) => checkpoints.bytes))
  return {
    measured,
    text: table(
      ['', 's', 'CPU s', 'peak RSS MiB'],
      Object.entries(measured).map(([label, all]) => [
        label,
        spread(
          all.map(({ ms }) => ms / 1000),
          1,
        ),
        median(all.map(({ cpu }) => cpu)).toFixed(2),
        mib(median(all.map(({ rss }) => rss))).toFixed(0),
      ]),
    ),
    targets: [
      verdict(
        'time vs. the plain loop',
        ratio(
          ours.map(({ ms }) => ms),
          theirs.map(({ ms }) => ms),
        ),
        { must: 1.2, reach: 1, atMost: true },
      ),
      verdict('MiB written for checkpoints', written / MIB, {
        must: 32,
        reach: 8,
        atMost: true,
        digits: 1,
      }),
    ],
  }
}
