/** 10,000 parts of 100 KiB: costs that grow with the number of parts, and bytes written for checkpoints. */
import { median, mib, MIB, ratio, scaled, spread, table, verdict } from '../figures.mjs'

const PARTS = 10_000
const PART = 100 * 1024
/** The two servers: one that shows the cost of the client alone, and the emulator. */
const SERVERS = { discarding: 'a server that costs next to nothing', oss: 'the emulator' }
const OURS = 'oss-spool, size known'
const FROM_MEMORY = '`uploadPart` loop from memory'
const BESIDE_FILE = '`uploadPart` loop beside `fs.createWriteStream`'
const ROUNDS = 2

export const title = '10,000 parts of 100 KiB, 5 in flight'

export async function run(bench, { runs, scale }) {
  const spec = { size: scaled(PARTS, scale) * PART, partSize: PART, parallel: 5 }
  const uploads = server => ({
    [`${OURS}; ${SERVERS[server]}`]: {
      subject: 'oss-spool',
      ...spec,
      server,
      sized: true,
      watchCheckpoints: true,
    },
    [`${FROM_MEMORY}; ${SERVERS[server]}`]: { subject: 'part-loop-memory', ...spec, server },
    [`${BESIDE_FILE}; ${SERVERS[server]}`]: { subject: 'part-loop', ...spec, server },
  })
  const compared = await bench.compare(
    { ...uploads('discarding'), ...uploads('oss') },
    Math.min(runs, ROUNDS),
  )
  const others = await bench.compare(
    {
      [`\`multipartUpload\` of a file that exists; ${SERVERS.oss}`]: {
        subject: 'multipart-file',
        ...spec,
      },
    },
    1, // it takes up to half a minute, and is not compared with anything
  )
  const measured = { ...compared, ...others }
  const of = (label, server) => measured[`${label}; ${SERVERS[server]}`]
  const times = (label, server) => of(label, server).map(({ ms }) => ms)
  const written = median(of(OURS, 'oss').map(({ checkpoints }) => checkpoints.bytes))
  return {
    measured,
    text: table(
      ['', 's', 'client CPU s', 'server CPU s', 'client idle', 'peak RSS MiB'],
      Object.entries(measured).map(([label, all]) => [
        label,
        spread(
          all.map(({ ms }) => ms / 1000),
          1,
        ),
        median(all.map(({ cpu }) => cpu)).toFixed(2),
        median(all.map(({ server }) => server)).toFixed(2),
        `${(median(all.map(idleShare)) * 100).toFixed(0)} %`,
        mib(median(all.map(({ rss }) => rss))).toFixed(0),
      ]),
    ),
    targets: [
      verdict(
        `time vs. the loop from memory, ${SERVERS.discarding}`,
        ratio(times(OURS, 'discarding'), times(FROM_MEMORY, 'discarding')),
        { must: 1.5, reach: 1.2, atMost: true },
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

/** Share of the time in which the client does not use a processor. Threads of the pool may make it 0. */
const idleShare = ({ ms, cpu }) => Math.max(0, 1 - (cpu * 1000) / ms)
