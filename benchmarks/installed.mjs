/** The machine, and the versions of the measured packages. */
import { execFileSync, spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { cpus, release, totalmem } from 'node:os'

const version = name =>
  JSON.parse(readFileSync(new URL(`../node_modules/${name}/package.json`, import.meta.url))).version

const rclone = spawnSync('rclone', ['version'], { encoding: 'utf8' }).stdout?.split('\n')[0]

export const installed = {
  node: process.version,
  machine: `${cpus().length} × ${cpus()[0]?.model.trim()}, ${(totalmem() / 2 ** 30).toFixed(0)} GiB, Linux ${release()}`,
  /** With "-dirty" if a file differs from that commit. */
  commit: execFileSync('git', ['describe', '--always', '--dirty', '--exclude=*'], {
    encoding: 'utf8',
  }).trim(),
  versions: {
    'ali-oss': version('ali-oss'),
    '@aws-sdk/lib-storage': version('@aws-sdk/lib-storage'),
    lowdb: version('lowdb'),
  },
  rclone,
}
