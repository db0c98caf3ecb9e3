/**
 * What `npm test` has no time for.
 *
 *     npm run torture                                all tests, the long ones and every moment of a crash
 *     npm run torture -- test/crash/kill.test.ts     those of these files
 *     npm run torture -- --kills 10000 [--seed N]    kills at random, with a line now and then
 *
 * Ends with 1 if anything was lost or wrong.
 */
import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { kills: { type: 'string' }, seed: { type: 'string' } },
})
for (const number of [values.kills, values.seed]) {
  if (number === undefined || /^\d+$/.test(number)) continue
  console.error('usage: npm run torture -- [FILE...] | --kills 10000 [--seed N]')
  process.exit(2)
}
const path = name => fileURLToPath(new URL(name, import.meta.url))
const seed = values.seed === undefined ? {} : { SEED: values.seed }
const [args, env] =
  values.kills === undefined
    ? [[path('run.mjs'), ...positionals], { LONG: '1', ...seed }]
    : [randomKills(), { KILLS: values.kills, ...seed }]
const child = spawn(process.execPath, args, { stdio: 'inherit', env: { ...process.env, ...env } })
child.on('close', code => {
  process.exitCode = code ?? 1
})

/** This reporter lets the lines through that the test writes itself. */
function randomKills() {
  const tapPackage = createRequire(import.meta.url).resolve('tap/package.json')
  const { bin } = JSON.parse(readFileSync(tapPackage, 'utf8'))
  const tap = join(dirname(tapPackage), bin.tap)
  return [tap, 'run', '--reporter=tap', '--timeout=0', path('crash/random.test.ts')]
}
