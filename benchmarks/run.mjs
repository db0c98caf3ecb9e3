/**
 * `npm run bench`: runs all cases that take minutes together, or only the named ones.
 *
 *     npm run bench -- throughput memory --runs 9
 *     npm run bench -- long                    (part-size, memory-long, huge)
 *     npm run bench -- huge [--size 40960]     (in MiB)
 *
 * Prints tables. Without names, or with `--publish`, it also writes `results.json`, `RESULTS.md` and the plots. A case that
 * fails leaves its earlier result in place, and the exit status is 1. `--scale 0.1` measures a tenth, to try a case.
 */
import { parseArgs } from 'node:util'
import { Bench } from './bench.mjs'
import { installed } from './installed.mjs'
import { publish } from './results.mjs'

const CASES = [
  'throughput',
  'third-upload',
  'overlap',
  'many-parts',
  'small-objects',
  'cli-start',
  'latency',
  'auto',
  'memory',
  'resume',
  'etl',
  'fleet',
  'checkpoint',
  'commit',
  'cancel',
  'progress',
  'emulator',
]

/** Cases that take many minutes; they run only when named. */
const LONG = ['part-size', 'memory-long', 'huge']

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    runs: { type: 'string', default: '3' },
    scale: { type: 'string', default: '1' },
    size: { type: 'string', default: '40960' },
    publish: { type: 'boolean', default: false },
  },
})
const all = [...CASES, ...LONG]
const named = positionals.flatMap(name => (name === 'long' ? LONG : [name]))
const unknown = named.find(name => !all.includes(name))
if (unknown !== undefined) {
  console.error(`Unknown case "${unknown}". Cases: ${all.join(', ')}, long`)
  process.exit(2)
}
const options = {
  runs: Number(values.runs),
  scale: Number(values.scale),
  size: Number(values.size) * 2 ** 20,
  installed,
}
const results = {}
const failures = []
for (const name of named.length === 0 ? CASES : named) {
  const { title, run, missing } = await import(`./cases/${name}.mjs`)
  console.log(`\n## ${title}\n`)
  const reason = missing?.()
  if (reason) {
    console.log(`Skipped: ${reason}`)
    continue
  }
  const from = performance.now()
  try {
    results[name] = { title, ...(await Bench.use(bench => run(bench, options))) }
    report(results[name])
  } catch (error) {
    failures.push(name)
    console.error(error)
  }
  console.log(`${((performance.now() - from) / 1000).toFixed(0)} s`)
}
if (named.length === 0 || values.publish) await publish(results, all)
if (failures.length > 0) {
  console.error(`Failed: ${failures.join(', ')}`)
  process.exitCode = 1
}

function report({ text, targets }) {
  console.log(text)
  for (const { name, text: value, must, reach, met } of targets) {
    console.log(`${name}: ${value} (required ${must}, goal ${reach}): ${met}`)
  }
}
