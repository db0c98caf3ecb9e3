/**
 * Runs the tests that `npm test` skips or samples.
 *
 *     npm run torture                                all tests, including slow ones and every crash point
 *     npm run torture -- test/crash/kill.test.ts     all tests of the given files
 *     npm run torture -- --kills 10000 [--seed N]    random kills, with a progress line every 100 kills
 *
 * Exits with 1 if any check failed.
 */
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { compile, compiled, root } from './compile.mjs'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { kills: { type: 'string' }, seed: { type: 'string' } },
})
for (const number of [values.kills, values.seed]) {
  if (number === undefined || /^\d+$/.test(number)) continue
  console.error('usage: npm run torture -- [FILE...] | --kills 10000 [--seed N]')
  process.exit(2)
}
if (values.kills !== undefined) compile()
const seed = values.seed === undefined ? {} : { SEED: values.seed }
const [args, env] =
  values.kills === undefined
    ? [[join(root, 'test/run.mjs'), ...positionals], { LONG: '1', ...seed }]
    : [
        [join(root, compiled('test/crash/random.test.ts'))],
        { KILLS: values.kills, TAP_TIMEOUT: '0', ...seed },
      ]
const child = spawn(process.execPath, args, { stdio: 'inherit', env: { ...process.env, ...env } })
child.on('close', code => {
  process.exitCode = code ?? 1
})
