/** Throughput compared with uploads that keep nothing on disk, and with the usual recipe. */
import { mib, MIB, median, rates, ratio, spread, table, verdict } from '../figures.mjs'

const SIZE = 512 * MIB
const SPEC = { size: SIZE, partSize: 8 * MIB, parallel: 5 }

export const title = 'Throughput: 512 MiB, parts of 8 MiB, 5 in flight, loopback'

export const SUBJECTS = {
  'oss-spool': 'oss-spool',
  'raw HTTP PUT': 'raw-put',
  'raw HTTP PUT, no-op server': 'noop-put',
  '`ali-oss` `putStream`': 'put-stream',
  '`ali-oss` `multipartUpload` of a file': 'multipart-file',
  '`@aws-sdk/lib-storage`': 'lib-storage',
  '`@aws-sdk/lib-storage`, no checksums': 'lib-storage-bare',
  'the usual recipe': 'usual-recipe',
  '`fs.createWriteStream`, no upload': 'disk-only',
}

export async function run(bench, { runs, installed }) {
  const subjects = { ...SUBJECTS, ...(installed.rclone && { '`rclone rcat`': 'rclone' }) }
  const cases = Object.fromEntries(
    Object.entries(subjects).map(([label, subject]) => [label, { subject, ...SPEC }]),
  )
  const measured = await bench.compare(cases, runs)
  return { measured, ...report(measured, SIZE) }
}

export function report(measured, size) {
  const ours = rates(size, measured['oss-spool'])
  const rows = Object.entries(measured).map(([label, all]) => [
    label,
    spread(rates(size, all)),
    ratio(ours, rates(size, all)).toFixed(2),
    median(all.map(({ cpu }) => cpu)).toFixed(2),
    median(all.map(({ server }) => server)).toFixed(2),
    mib(median(all.map(({ rss }) => rss))).toFixed(0),
  ])
  const against = label => ratio(ours, rates(size, measured[label]))
  return {
    text: table(['', 'MB/s', 'oss-spool ×', 'CPU s', 'server CPU s', 'peak RSS MiB'], rows),
    targets: [
      verdict('vs. `@aws-sdk/lib-storage`', against('`@aws-sdk/lib-storage`'), {
        must: 1.1,
        reach: 1.5,
      }),
      verdict('vs. the usual recipe', against('the usual recipe'), { must: 1.8, reach: 2.5 }),
      verdict('vs. raw HTTP PUT', against('raw HTTP PUT'), { must: 0.25, reach: 0.45 }),
      verdict(
        'event-loop delay p99, ms',
        median(measured['oss-spool'].map(({ delay }) => delay.p99)),
        { must: 50, reach: 20, atMost: true, digits: 1 },
      ),
    ],
  }
}
