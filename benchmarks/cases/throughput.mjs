/** Throughput of one stream, compared with other ways to upload it, and with limits of this machine. */
import { mib, MIB, median, rates, ratio, scaled, spread, table, verdict } from '../figures.mjs'

const SIZE = 512 * MIB
const LIB_STORAGE = '`@aws-sdk/lib-storage`'
const FILE_FIRST = 'temp file, then `multipartUpload`'
const RAW_PUT = 'raw HTTP PUT'

/** Subjects that upload the stream in parts and retry these. */
const PEERS = {
  [LIB_STORAGE]: 'lib-storage',
  [`${LIB_STORAGE}, no checksums`]: 'lib-storage-bare',
  [FILE_FIRST]: 'file-then-multipart',
  '`multipartUpload` of a file that exists': 'multipart-file',
  '`rclone rcat`': 'rclone',
}
/** Subjects that do less: one request that a failure loses, or no upload. */
const LIMITS = {
  [RAW_PUT]: 'raw-put',
  [`${RAW_PUT}, server ignores the bytes`]: 'noop-put',
  '`putStream` of `ali-oss`': 'put-stream',
  '`fs.createWriteStream`, no upload': 'disk-only',
}

export const title =
  'Throughput: the first upload of a process, 512 MiB, parts of 8 MiB, 5 in flight, loopback'

/** Returns which group of subjects a label belongs to. */
export function groupOf(label) {
  if (label === 'oss-spool') return 'ours'
  return Object.hasOwn(LIMITS, label) ? 'limit' : 'peer'
}

export async function run(bench, { runs, scale, installed }) {
  const spec = { size: scaled(SIZE, scale), partSize: 8 * MIB, parallel: 5, before: [] }
  const cases = Object.entries({ 'oss-spool': 'oss-spool', ...PEERS, ...LIMITS })
    .filter(([, subject]) => subject !== 'rclone' || installed.rclone)
    .map(([label, subject]) => [label, { subject, ...spec }])
  const measured = await bench.compare(Object.fromEntries(cases), runs)
  return { measured, size: spec.size, ...report(measured, spec.size) }
}

function report(measured, size) {
  const ours = rates(size, measured['oss-spool'])
  const against = label => ratio(ours, rates(size, measured[label]))
  const rows = Object.entries(measured).map(([label, all]) => [
    groupOf(label) === 'limit' ? `*${label}*` : label,
    spread(rates(size, all)),
    against(label).toFixed(2),
    median(all.map(({ cpu }) => cpu)).toFixed(2),
    median(all.map(({ server }) => server)).toFixed(2),
    mib(median(all.map(({ rss }) => rss))).toFixed(0),
  ])
  return {
    text: `${table(['', 'MB/s', 'oss-spool ×', 'CPU s', 'server CPU s', 'peak RSS MiB'], rows)}

In italics: limits, which send one request that a failure loses, or upload nothing.`,
    targets: [
      verdict('vs. `@aws-sdk/lib-storage`', against(LIB_STORAGE), { must: 1.5, reach: 2 }),
      verdict(`vs. ${FILE_FIRST}`, against(FILE_FIRST), { must: 1.8, reach: 2.5 }),
      verdict('vs. raw HTTP PUT', against(RAW_PUT), { must: 0.36, reach: 0.45 }),
      verdict(
        'event-loop delay p99, ms',
        median(measured['oss-spool'].map(({ delay }) => delay.p99)),
        { must: 50, reach: 20, atMost: true, digits: 1 },
      ),
    ],
  }
}
