/** Cost of a durable upload of very few bytes. */
import { median, ratio, scaled, spread, table, verdict } from '../figures.mjs'
import { OBJECT } from '../small-objects.mjs'

const COUNT = 1000
const BEFORE = 100
/** The servers, with the goals for our rate as a share of that of `client.put`. */
const SERVERS = {
  discarding: { name: 'a server that costs next to nothing', must: 0.3, reach: 0.5 },
  oss: { name: 'the emulator', must: 0.5, reach: 0.7 },
}

export const title = '1,000 objects of 10 KB in one process, 16 concurrently, after 100 others'

export async function run(bench, { runs, scale }) {
  const count = scaled(COUNT, scale)
  const spec = { size: count * OBJECT, parallel: 16, before: [BEFORE * OBJECT] }
  const label = (name, server) => `${name}; ${SERVERS[server].name}`
  const [ours, theirs] = ['oss-spool', '`client.put` of `ali-oss`']
  const floor = `the disk steps alone, then ${theirs}`
  const servers = Object.keys(SERVERS)
  const cases = servers.flatMap(server => [
    [label(ours, server), { subject: 'small-objects', ...spec, server }],
    [label(theirs, server), { subject: 'small-puts', ...spec, server }],
    [label(floor, server), { subject: 'small-puts-durable', ...spec, server }],
  ])
  const measured = await bench.compare(Object.fromEntries(cases), runs)
  const perSecond = all => all.map(({ ms }) => count / (ms / 1000))
  return {
    measured,
    text: table(
      ['', 'objects/s', 'CPU ms per object'],
      Object.entries(measured).map(([name, all]) => [
        name,
        spread(perSecond(all)),
        ((median(all.map(({ cpu }) => cpu)) / count) * 1000).toFixed(2),
      ]),
    ),
    targets: servers.map(server =>
      verdict(
        `rate vs. \`client.put\`, ${SERVERS[server].name}`,
        ratio(...[ours, theirs].map(name => perSecond(measured[label(name, server)]))),
        SERVERS[server],
      ),
    ),
  }
}
