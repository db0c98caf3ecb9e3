/** Reading and sending concurrently: the time from the end of the source to `finish`. */
import { median, MIB, scaled, spread, table, verdict } from '../figures.mjs'

const SIZE = 512 * MIB
const PART = 8 * MIB
const CONNECTION = 25e6
const LINK = { latency: 30, bandwidth: CONNECTION, totalBandwidth: 100e6 }
const SOURCE = 60e6
/** Time of a single part alone, in ms. */
const PART_MS = (PART / CONNECTION) * 1000 + LINK.latency

export const title =
  'Overlap: a source of 60 MB/s, a link of 100 MB/s over 4 connections, 30 ms latency'

export async function run(bench, { scale }) {
  const size = scaled(SIZE, scale)
  const spec = { size, partSize: PART, parallel: 4, rate: SOURCE }
  await bench.ask('link', LINK)
  const measured = await bench.compare(
    {
      'oss-spool': { subject: 'oss-spool', ...spec, watchProgress: true },
      'temp file, then `multipartUpload`': { subject: 'file-then-multipart', ...spec },
    },
    1, // mostly waiting: runs differ by a hundredth
  )
  const ours = measured['oss-spool']
  const source = (size / SOURCE) * 1000
  const link = (size / LINK.totalBandwidth) * 1000
  const over = all => all.map(({ ms }) => ms / Math.max(source, link))
  return {
    measured,
    text: table(
      [
        '',
        's',
        'vs. the slower of source and link alone',
        's from the end of the source to `finish`',
      ],
      Object.entries(measured).map(([label, all]) => [
        label,
        spread(
          all.map(({ ms }) => ms / 1000),
          2,
        ),
        `${median(over(all)).toFixed(3)} ×`,
        spread(
          all.map(({ afterSource }) => afterSource / 1000),
          2,
        ),
      ]),
    ),
    targets: [
      verdict('total vs. the slower of the two alone', median(over(ours)), {
        must: 1.1,
        reach: 1.05,
        atMost: true,
        digits: 3,
      }),
      verdict(
        'from the end of the source to `finish`, in part times',
        median(ours.map(({ afterSource }) => afterSource / PART_MS)),
        { must: 3, reach: 2, atMost: true },
      ),
    ],
  }
}
