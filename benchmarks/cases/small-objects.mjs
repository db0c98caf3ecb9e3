/** Cost of a durable upload of very few bytes. */
import { median, ratio, spread, table, verdict } from '../figures.mjs'
import { OBJECT } from '../small-objects.mjs'

const COUNT = 1000
const SPEC = { size: COUNT * OBJECT, parallel: 16 }

export const title = '1,000 objects of 10 KB in one process, 16 concurrently'

export async function run(bench, { runs }) {
  const measured = await bench.compare(
    {
      'oss-spool': { subject: 'small-objects', ...SPEC },
      '`client.put` of `ali-oss`': { subject: 'small-puts', ...SPEC },
    },
    runs,
  )
  const perSecond = all => all.map(({ ms }) => COUNT / (ms / 1000))
  const [ours, theirs] = Object.values(measured).map(perSecond)
  return {
    measured,
    text: table(
      ['', 'objects/s', 'CPU s'],
      Object.entries(measured).map(([label, all]) => [
        label,
        spread(perSecond(all)),
        median(all.map(({ cpu }) => cpu)).toFixed(2),
      ]),
    ),
    targets: [verdict('vs. `client.put`', ratio(ours, theirs), { must: 0.4, reach: 0.7 })],
  }
}
