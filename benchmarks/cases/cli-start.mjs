/** Duration of commands of the command line, from the start of their process to its end. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { environmentOf } from '../environment.mjs'
import { median, ratio, scaled, spread, table, verdict } from '../figures.mjs'
import { bytesOf } from '../source.mjs'

const ROUNDS = 15
const FILE_BYTES = 100_000
const root = fileURLToPath(new URL('../..', import.meta.url))
const cli = join(root, 'dist/cli/bin.js')

const NODE = 'node -e 0'
const ALI_OSS = `node -e "require('ali-oss')"`
const VERSION = 'oss-spool --version'
const LS = 'oss-spool ls, an empty spool'
const PUT = 'oss-spool put, a file of 100 KB'

export const title = `Start-up of the command line, ${ROUNDS} rounds`

export async function run(bench, { scale }) {
  const dir = mkdtempSync(join(tmpdir(), 'oss-spool-bench-cli-'))
  const file = join(dir, 'file')
  writeFileSync(file, bytesOf(0, FILE_BYTES))
  const spool = ['--spool', join(dir, 'spool')]
  const commands = {
    [NODE]: () => ['-e', '0'],
    [ALI_OSS]: () => ['-e', "require('ali-oss')"],
    [VERSION]: () => [cli, '--version'],
    [LS]: () => [cli, 'ls', ...spool],
    [PUT]: i => [cli, 'put', `oss://bench/cli-${i}`, file, ...spool],
  }
  const options = { stdio: 'ignore', cwd: root, env: environmentOf(bench.places.oss) }
  const times = Object.fromEntries(Object.keys(commands).map(label => [label, []]))
  for (let i = 0; i < scaled(ROUNDS, scale, 3); i++) {
    for (const [label, argumentsOf] of Object.entries(commands)) {
      const start = performance.now()
      const { status } = spawnSync(process.execPath, argumentsOf(i), options)
      if (status !== 0) throw new Error(`${label} ended with ${status}`)
      times[label].push(performance.now() - start)
    }
  }
  rmSync(dir, { recursive: true })
  const above = label => median(times[label].map((ms, i) => ms - times[NODE][i]))
  const share = (label, other) => ratio(times[label], times[other])
  return {
    measured: times,
    text: table(
      ['', 'ms', 'of `node -e 0`'],
      Object.entries(times).map(([label, all]) => [
        `\`${label}\``,
        spread(all),
        `${share(label, NODE).toFixed(1)} ×`,
      ]),
    ),
    targets: [
      ...[VERSION, LS].map(label =>
        verdict(`${label}: ms above bare node`, above(label), {
          must: 80,
          reach: 30,
          atMost: true,
          digits: 0,
        }),
      ),
      verdict(`${PUT}: time vs. a Node that only imports \`ali-oss\``, share(PUT, ALI_OSS), {
        must: 1.4,
        reach: 1.1,
        atMost: true,
      }),
      verdict(`${PUT}: time vs. bare node`, share(PUT, NODE), {
        must: 6,
        reach: 4.5,
        atMost: true,
        digits: 1,
      }),
    ],
  }
}
