/**
 * Random kills for as long as you like, with a line now and then and one at the end:
 *
 *     npm run torture -- --kills 10000 [--seed N]
 *
 * It is `test/crash/random.test.ts` with larger numbers; exits 1 if anything was lost or wrong.
 */
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const { values } = parseArgs({
  options: { kills: { type: 'string', default: '10000' }, seed: { type: 'string' } },
})
const seed = values.seed ?? String(Math.floor(Math.random() * 2 ** 31))
for (const number of [values.kills, seed]) {
  if (/^\d+$/.test(number)) continue
  console.error('usage: npm run torture -- --kills 10000 [--seed N]')
  process.exit(2)
}

const path = name => fileURLToPath(new URL(name, import.meta.url))
const child = spawn(process.execPath, [path('../run.mjs'), '--timeout=0', path('random.test.ts')], {
  stdio: 'inherit',
  env: { ...process.env, KILLS: values.kills, SEED: seed },
})
child.on('close', code => {
  process.exitCode = code ?? 1
})
