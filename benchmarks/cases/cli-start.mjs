/** Start-up time of the command line. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { median, spread, table, verdict } from '../figures.mjs'

const ROUNDS = 15
const cli = fileURLToPath(new URL('../../dist/cli/bin.js', import.meta.url))

export const title = `Start-up of the command line, ${ROUNDS} rounds`

export function run() {
  const dir = mkdtempSync(join(tmpdir(), 'oss-spool-bench-ls-'))
  const commands = {
    'node -e 0': ['-e', '0'],
    'oss-spool --version': [cli, '--version'],
    'oss-spool ls, an empty spool': [cli, 'ls', '--spool', dir],
  }
  const times = Object.fromEntries(Object.keys(commands).map(label => [label, []]))
  for (let i = 0; i < ROUNDS; i++) {
    for (const [label, command] of Object.entries(commands)) {
      const start = performance.now()
      const { status } = spawnSync(process.execPath, command, { stdio: 'ignore' })
      if (status !== 0) throw new Error(`${label} ended with ${status}`)
      times[label].push(performance.now() - start)
    }
  }
  rmSync(dir, { recursive: true })
  const above = label => median(times[label].map((ms, i) => ms - times['node -e 0'][i]))
  return {
    measured: times,
    text: table(
      ['', 'ms'],
      Object.entries(times).map(([label, all]) => [`\`${label}\``, spread(all)]),
    ),
    targets: Object.keys(commands)
      .slice(1)
      .map(label =>
        verdict(`${label}: ms above bare node`, above(label), {
          must: 80,
          reach: 30,
          atMost: true,
          digits: 0,
        }),
      ),
  }
}
