/** The machine, and the versions of the measured packages. */
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { cpus, release, totalmem } from 'node:os'
import { fileURLToPath } from 'node:url'

const version = name =>
  JSON.parse(readFileSync(new URL(`../node_modules/${name}/package.json`, import.meta.url))).version

/** What is measured. Not the results of an earlier run. */
const MEASURED = ['src', 'benchmarks', ':!benchmarks/RESULTS.md', ':!benchmarks/*.json', ':!*.svg']

/** Returns the commit, with "-dirty" if what is measured differs from it. */
function commit() {
  const root = fileURLToPath(new URL('..', import.meta.url))
  const git = (...args) => spawnSync('git', args, { cwd: root, encoding: 'utf8' })
  const name = git('rev-parse', '--short', 'HEAD').stdout.trim()
  const isClean = git('diff', '--quiet', 'HEAD', '--', ...MEASURED).status === 0
  return isClean ? name : `${name}-dirty`
}

const rclone = spawnSync('rclone', ['version'], { encoding: 'utf8' }).stdout?.split('\n')[0]

export const installed = {
  node: process.version,
  machine: `${cpus().length} × ${cpus()[0]?.model.trim()}, ${(totalmem() / 2 ** 30).toFixed(0)} GiB, Linux ${release()}`,
  commit: commit(),
  versions: {
    'ali-oss': version('ali-oss'),
    '@aws-sdk/lib-storage': version('@aws-sdk/lib-storage'),
    lowdb: version('lowdb'),
  },
  rclone,
}
