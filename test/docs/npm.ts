/**
 * Stand-in for npm in the shell examples of a page. `npm install` installs the packed package into the current
 * project; other commands are those of npm.
 */
import { spawnSync } from 'node:child_process'
import { install } from '../support/installed.js'

const [command = '', ...args] = process.argv.slice(2)
const { PACKED = '', NPM = '' } = process.env
if (command === 'install') {
  install(
    process.cwd(),
    PACKED,
    args.filter(arg => !arg.startsWith('-')),
  )
} else {
  const { status } = spawnSync(NPM, [command, ...args], { stdio: 'inherit' })
  process.exitCode = status ?? 1
}
