/** Cost of `rotate`: many small and a few large gzip objects, compared with a hand-written loop that is not safe. */
import { ratio, scaled, spread, table, verdict } from '../figures.mjs'
import { objectCount, RECORD } from '../records.mjs'

/** Numbers of records, records per object, and the limits of the ratios of time and processor time. */
const WORKLOADS = {
  'small objects': {
    records: 30_000,
    perObject: 100,
    time: { must: 1.5, reach: 1.2 },
    cpu: { must: 2, reach: 1.5 },
  },
  'large objects': {
    records: 300_000,
    perObject: 16_000,
    time: { must: 1.2, reach: 1 },
    cpu: { must: 1.5, reach: 1.2 },
  },
}

export const title =
  'Records in 10 partitions into gzip objects: 30,000 into small ones, 300,000 into large ones'

export async function run(bench, { runs, scale }) {
  const measured = {}
  const texts = []
  const targets = []
  for (const [workload, { records: all, perObject, time, cpu }] of Object.entries(WORKLOADS)) {
    const records = scaled(all, scale)
    const spec = { size: records * RECORD, perObject, countWrites: true }
    const compared = await bench.compare(
      {
        rotate: { subject: 'etl-rotate', ...spec },
        loop: { subject: 'etl-loop', ...spec },
      },
      runs,
    )
    const { rotate, loop } = compared
    measured[workload] = compared
    const objects = objectCount(spec.size, perObject)
    texts.push(
      table(
        [`${records} records, ${objects} objects`, 'seconds', 'CPU s', 'writing requests'],
        [
          ['`rotate`', ...cells(rotate)],
          ['gzip to a file per object, then `client.put`', ...cells(loop)],
        ],
      ),
    )
    const ratioOf = field =>
      ratio(
        rotate.map(one => one[field]),
        loop.map(one => one[field]),
      )
    targets.push(
      verdict(`${workload}: time vs. the loop`, ratioOf('ms'), { ...time, atMost: true }),
      verdict(`${workload}: CPU vs. the loop`, ratioOf('cpu'), { ...cpu, atMost: true }),
    )
  }
  return { measured, text: texts.join('\n\n'), targets }
}

function cells(all) {
  return [
    spread(
      all.map(({ ms }) => ms / 1000),
      2,
    ),
    spread(
      all.map(({ cpu }) => cpu),
      2,
    ),
    spread(all.map(({ writes }) => writes)),
  ]
}
