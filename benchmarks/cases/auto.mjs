/** `parallel: 'auto'` against fixed numbers of parts in flight, on a fast line and on a slow one. */
import { MIB, ratio, rates, scaled, spread, table, verdict } from '../figures.mjs'

const PARALLEL = ['auto', 5, 16, 32]
/** On the first line, as on one of 1,000 MB/s at 100 ms, a connection is idle for a third of its time. */
const LINES = {
  '100 ms, 1.25 MB/s per connection': {
    link: { latency: 100, bandwidth: 1.25e6 },
    spec: { partSize: MIB / 4, size: 80 * MIB },
  },
  '20 ms, 5 MB/s in total': {
    link: { latency: 20, totalBandwidth: 5e6 },
    spec: { partSize: MIB / 2, size: 20 * MIB },
  },
}
/** It is nearly all waiting: rounds differ by a hundredth. */
const ROUNDS = 1

export const title = '`parallel`: auto, 5, 16 and 32 parts in flight'

export async function run(bench, { scale }) {
  const measured = {}
  for (const [line, { link, spec }] of Object.entries(LINES)) {
    await bench.ask('link', link)
    const cases = PARALLEL.map(parallel => [
      `${line}, ${parallel}`,
      { subject: 'oss-spool', ...spec, size: scaled(spec.size, scale), parallel, before: [] },
    ])
    Object.assign(measured, await bench.compare(Object.fromEntries(cases), ROUNDS))
  }
  const against = (line, parallel) => {
    const [auto, fixed] = ['auto', parallel].map(each => measured[`${line}, ${each}`])
    return ratio(
      fixed.map(({ ms }) => ms),
      auto.map(({ ms }) => ms),
    )
  }
  const [fast, slow] = Object.keys(LINES)
  return {
    measured,
    text: table(
      ['MB/s', ...PARALLEL],
      Object.entries(LINES).map(([line, { spec }]) => [
        line,
        ...PARALLEL.map(each =>
          spread(rates(scaled(spec.size, scale), measured[`${line}, ${each}`]), 1),
        ),
      ]),
    ),
    targets: [
      verdict('fast line, auto vs. 5 in flight', against(fast, 5), { must: 2, reach: 3 }),
      verdict('fast line, auto vs. 32 in flight', against(fast, 32), { must: 0.6, reach: 0.8 }),
      verdict('slow line, auto vs. 5 in flight', against(slow, 5), { must: 0.95, reach: 0.99 }),
    ],
  }
}
