/**
 * Runs the tests that `npm test` skips or samples.
 *
 *     npm run torture                                all of them, and the other tests of their files
 *     npm run torture -- test/crash/kill.test.ts     all tests of the given files
 *     npm run torture -- --kills 10000 [--seed N]    random kills, with a progress line every 100 kills
 *
 * Exits with 1 if any check failed.
 */
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { glob } from 'tinyglobby'
import { compile, compiled, root } from './compile.mjs'
import { isSlow } from './slow-files.mjs'

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
    ? [[join(root, 'test/run.mjs'), ...(await filesToRun())], { LONG: '1', ...seed }]
    : [
        [join(root, compiled('test/crash/random.test.ts'))],
        { KILLS: values.kills, TAP_TIMEOUT: '0', ...seed },
      ]
const child = spawn(process.execPath, args, { stdio: 'inherit', env: { ...process.env, ...env } })
child.on('close', code => {
  process.exitCode = code ?? 1
})

/** Returns arguments of `run.mjs`: the given files, or all whose tests `npm test` skips or samples, with a timeout. */
async function filesToRun() {
  if (positionals.length > 0) return positionals
  const files = await glob('test/**/*.test.ts', { cwd: root, absolute: true })
  return ['--timeout=1800', ...files.filter(file => isSlow(file))]
}
