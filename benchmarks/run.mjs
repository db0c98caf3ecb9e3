/**
 * `npm run bench`: runs all cases, or only the named ones.
 *
 *     npm run bench -- throughput memory --runs 9
 *     npm run bench -- huge [--size 40960]     (in MiB; only when named)
 *     npm run bench -- fleet                   (needs redis-server; only when named)
 *
 * Prints tables. For all cases, or with `--publish`, it also writes `results.json`, `RESULTS.md` and the plots.
 */
import { parseArgs } from 'node:util'
import { Bench } from './bench.mjs'
import { installed } from './installed.mjs'
import { publish } from './results.mjs'

export const CASES = [
  'throughput',
  'overlap',
  'many-parts',
  'latency',
  'auto',
  'memory',
  'resume',
  'small-objects',
  'etl',
  'checkpoint',
  'commit',
  'cancel',
  'progress',
  'cli-start',
]

/** Cases that take long or need Redis; they run only when named. */
const LONG = ['part-size', 'huge', 'fleet']

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    runs: { type: 'string', default: '5' },
    size: { type: 'string', default: '40960' },
    publish: { type: 'boolean', default: false },
  },
})
const all = [...CASES, ...LONG]
const unknown = positionals.find(name => !all.includes(name))
if (unknown !== undefined) {
  console.error(`Unknown case "${unknown}". Cases: ${all.join(', ')}`)
  process.exit(2)
}
const chosen = positionals.length === 0 ? CASES : positionals
const options = { runs: Number(values.runs), size: Number(values.size) * 2 ** 20, installed }
const results = {}
for (const name of chosen) {
  const { title, run } = await import(`./cases/${name}.mjs`)
  console.log(`\n## ${title}\n`)
  const bench = await Bench.open()
  const from = performance.now()
  try {
    results[name] = { title, ...(await run(bench, options)) }
  } finally {
    await bench.close()
  }
  const { text, targets } = results[name]
  console.log(text)
  for (const { name: target, text: value, must, reach, met } of targets) {
    console.log(`${target}: ${value} (required ${must}, goal ${reach}): ${met}`)
  }
  console.log(`${((performance.now() - from) / 1000).toFixed(0)} s`)
}
if (positionals.length === 0 || values.publish) await publish(results)
