/** Cost of `commit()`: a paced stream with and without commits, and concurrent callers that share syncs. */
import { MIB, median, ratio, scaled, spread, table, verdict } from '../figures.mjs'

const RATE = 10e6
const SIZE = 40 * MIB
const PACED = { partSize: 8 * MIB, parallel: 5, rate: RATE }
const COMMITS_PER_SECOND = 100
/** Concurrent callers, each of which writes a record of 1 KiB and awaits its commit, and the bytes of all. */
const CALLERS = { 1: MIB / 2, 16: 4 * MIB, 256: 16 * MIB }

export const title =
  'Commits: 100 a second in a stream of 10 MB/s, and records of 1 KiB that are each committed'

export async function run(bench, { runs, scale }) {
  const pacedSize = scaled(SIZE, scale)
  const everyMs = 1000 / COMMITS_PER_SECOND
  const paced = await bench.compare(
    {
      'without commits': { subject: 'commit', ...PACED, size: pacedSize },
      '100 commits a second': { subject: 'commit', ...PACED, size: pacedSize, everyMs },
    },
    runs,
  )
  const shared = await bench.compare(
    Object.fromEntries(
      Object.entries(CALLERS).map(([callers, size]) => [
        callers,
        {
          subject: 'commit',
          size: scaled(size, scale),
          partSize: 8 * MIB,
          parallel: 5,
          callers: Number(callers),
        },
      ]),
    ),
    runs,
  )
  const { 'without commits': plain, '100 commits a second': committed } = paced
  const ms = all => all.map(one => one.ms)
  const cost = ratio(ms(committed), ms(plain)) - 1
  return {
    measured: { ...paced, ...shared },
    text: [
      table(
        ['', 'MB/s', 'CPU s', 'commits', 'syncs', 'commit, ms', 'p99'],
        Object.entries(paced).map(([label, all]) => [
          label,
          spread(
            all.map(one => pacedSize / 1e3 / one.ms),
            2,
          ),
          spread(
            all.map(({ cpu }) => cpu),
            2,
          ),
          ...counts(all),
        ]),
      ),
      table(
        ['callers', 'commits/s', 'commits per 3 syncs', 'commits', 'syncs', 'commit, ms', 'p99'],
        Object.entries(shared).map(([callers, all]) => [
          callers,
          spread(all.map(one => (one.commits / one.ms) * 1000)),
          spread(all.map(perCommit), 1),
          ...counts(all),
        ]),
      ),
    ].join('\n\n'),
    targets: [
      verdict('throughput lost to 100 commits a second at 10 MB/s', cost, {
        must: 0.1,
        reach: 0.05,
        atMost: true,
        digits: 3,
      }),
    ],
  }
}

/** Commits per durable record, each of which takes three syncs: temp file, checkpoint, directory. */
const perCommit = ({ commits, syncs }) => (commits / syncs) * 3

function counts(all) {
  const cell = (name, digits) => median(all.map(one => one[name] ?? 0)).toFixed(digits)
  return [cell('commits', 0), cell('syncs', 0), cell('latency', 1), cell('latencyP99', 1)]
}
