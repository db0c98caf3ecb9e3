/**
 * `npm run bench:check`: a short version of the benchmarks. Exits with 1 if a ratio shows that a change made
 * oss-spool slower. It uses only ratios of neighbouring runs, so the machine's speed does not matter.
 */
import { Bench } from './bench.mjs'
import { MIB, ratio } from './figures.mjs'
import { OBJECT } from './small-objects.mjs'

const ROUNDS = 3
const STREAM = { size: 192 * MIB, partSize: 8 * MIB, parallel: 5 }
const PARTS = { size: 1000 * 100 * 1024, partSize: 100 * 1024, parallel: 5 }
const SMALL = { size: 200 * OBJECT, parallel: 16 }

/** Noise of the machine. A larger slow-down is caused by a change. */
const MARGIN = 1.3

/** Pairs to compare; `usual` is our time divided by the other's, from this check on the machine of RESULTS.md. */
const CHECKS = [
  { name: 'lib-storage', ours: 'oss-spool', other: 'lib-storage', spec: STREAM, usual: 0.75 },
  { name: 'the usual recipe', ours: 'oss-spool', other: 'usual-recipe', spec: STREAM, usual: 0.5 },
  { name: 'raw HTTP PUT', ours: 'oss-spool', other: 'raw-put', spec: STREAM, usual: 1.9 },
  { name: 'a plain part loop', ours: 'oss-spool', other: 'part-loop', spec: PARTS, usual: 0.6 },
  { name: 'client.put', ours: 'small-objects', other: 'small-puts', spec: SMALL, usual: 2.5 },
]

const bench = await Bench.open()
try {
  for (const { name, ours, other, spec, usual } of CHECKS) {
    const cases = { ours: { subject: ours, ...spec }, other: { subject: other, ...spec } }
    const measured = await bench.compare(cases, ROUNDS)
    const times = label => measured[label].map(({ ms }) => ms)
    const value = ratio(times('ours'), times('other'))
    const most = usual * MARGIN
    const slower = value > most
    if (slower) process.exitCode = 1
    const verdict = slower ? 'TOO SLOW' : 'ok'
    console.log(`${verdict}: ${value.toFixed(2)} × the time of ${name}, at most ${most.toFixed(2)}`)
  }
} finally {
  await bench.close()
}
