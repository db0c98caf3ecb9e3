/**
 * `npm run bench:check`: short versions of the cases below, which hold each of their targets with a loose bound, and
 * ratios with neighbouring runs, so that the machine's speed matters little. Exits with 1 if a target is missed, and names it.
 * A target that the published run missed is held to what that run measured, so that it gets no worse.
 */
import { readFileSync } from 'node:fs'
import { Bench } from './bench.mjs'
import { installed } from './installed.mjs'

/** Share of a target that must hold here: short runs on a busy machine vary, and a change that costs more is no noise. */
const LOOSENESS = 0.7

/** Cases with the number of rounds and their share of the whole one. */
const CHECKS = {
  throughput: { runs: 3, scale: 0.375 },
  'third-upload': { runs: 3, scale: 0.375 },
  overlap: { runs: 1, scale: 0.5 },
  'many-parts': { runs: 1, scale: 0.2 },
  'small-objects': { runs: 2, scale: 0.5 },
  latency: { runs: 1, scale: 0.5 },
  auto: { runs: 1, scale: 0.5 },
  memory: { runs: 1, scale: 0.25 },
  resume: { runs: 2, scale: 0.25 },
  etl: { runs: 2, scale: 0.5 },
  commit: { runs: 1, scale: 0.5 },
  cancel: { runs: 2, scale: 1 },
  progress: { runs: 1, scale: 1 },
  'cli-start': { runs: 1, scale: 0.4 },
}

const published = JSON.parse(readFileSync(new URL('results.json', import.meta.url), 'utf8')).results

/** Returns the bound of this check for a target of a case. */
function boundOf(name, target) {
  const { must, atMost } = target
  const { value = must } = published[name]?.targets.find(each => each.name === target.name) ?? {}
  return atMost ? Math.max(must, value) / LOOSENESS : Math.min(must, value) * LOOSENESS
}

const missed = []
for (const [name, { runs, scale }] of Object.entries(CHECKS)) {
  const { run } = await import(`./cases/${name}.mjs`)
  const { targets } = await Bench.use(bench => run(bench, { runs, scale, installed }))
  for (const target of targets) {
    const bound = boundOf(name, target)
    const holds = target.atMost ? target.value <= bound : target.value >= bound
    const limit = `${target.atMost ? 'at most' : 'at least'} ${bound.toFixed(2)}`
    const text = `${name}: ${target.name}: ${target.text}, ${limit}`
    if (!holds) missed.push(text)
    console.log(`${holds ? 'ok' : 'MISSED'}: ${text}`)
  }
}
if (missed.length > 0) {
  process.exitCode = 1
  console.log(`\nMissed:\n${missed.join('\n')}`)
}
