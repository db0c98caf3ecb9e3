/**
 * Chaos in a fleet for as long as you like, with a line now and then and one at the end:
 *
 *     npm run test:chaos -- --jobs 300 [--kills 40] [--seed N]
 *
 * It is `test/fleet/chaos.test.ts` with larger numbers; exits 1 if anything was lost or wrong.
 */
import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const { values } = parseArgs({
  options: {
    jobs: { type: 'string', default: '300' },
    kills: { type: 'string', default: '30' },
    seed: { type: 'string' },
  },
})
const seed = values.seed ?? String(Math.floor(Math.random() * 2 ** 31))
for (const number of [values.jobs, values.kills, seed]) {
  if (/^\d+$/.test(number)) continue
  console.error('usage: npm run test:chaos -- --jobs 300 [--kills 30] [--seed N]')
  process.exit(2)
}

const path = name => fileURLToPath(new URL(name, import.meta.url))
const tapPackage = createRequire(import.meta.url).resolve('tap/package.json')
const { bin } = JSON.parse(readFileSync(tapPackage, 'utf8'))
const tap = join(dirname(tapPackage), bin.tap)
const child = spawn(
  process.execPath,
  // This reporter lets the lines through that the test writes itself.
  [tap, 'run', '--reporter=tap', '--timeout=0', path('chaos.test.ts')],
  {
    stdio: 'inherit',
    env: { ...process.env, LONG: '1', JOBS: values.jobs, KILLS: values.kills, SEED: seed },
  },
)
child.on('close', code => {
  process.exitCode = code ?? 1
})
