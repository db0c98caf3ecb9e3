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
