/**
 * Runs each given test file in its own process, several concurrently, since they often wait. It is a single test
 * to `tap run`. Starts the files without `NODE_OPTIONS`, because tap makes every process and its children load
 * its coverage hooks, which takes a third of the time of all tests.
 */
import { mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import t from 'tap'

const isLong = process.env['LONG'] !== undefined
const { values, positionals } = parseArgs({
  allowPositionals: true,
  strict: false, // the other options are tap's
  options: {
    // Files that run concurrently. Exceeds the number of cores, since most files wait for processes, for syncs of
    // the disk or for timeouts. Long tests of crashes run several processes each.
    jobs: { type: 'string', default: String((isLong ? 2 : 3) * availableParallelism()) },
    // Timeout of one file in seconds, or 0 for none. A file that hangs fails.
    timeout: { type: 'string', default: isLong ? '1800' : '600' },
  },
})
t.jobs = Number(values.jobs)
/** Time in ms after the exit of a test file's process until what it started must have closed its output, too. */
const OUTPUT_OPEN = 10_000

t.on('spawn', file => file.on('process', failIfOutputStaysOpen(file.name)))
const fixtures = join('.tap', 'fixtures')
mkdirSync(fixtures, { recursive: true })
for (const file of positionals) {
  // Only `mockImport` needs a loader, since it replaces modules while they are loaded, and the tap of that loader.
  const mocks = readFileSync(file, 'utf8').includes('mockImport')
  const node = [
    process.execPath,
    ...(mocks ? ['--import=@tapjs/mock/import', '--conditions=unbundled'] : []),
  ]
  const options = { name: file, buffered: true, timeout: Number(values.timeout) * 1000 }
  // The file reports its own timeout, which replaces the one above. The suite's own is unlimited.
  const environment = ['TAP_SAVE_FIXTURE=1', `TAP_TIMEOUT=${values.timeout}`]
  const run = ['-u', 'NODE_OPTIONS', ...environment, ...node, '--enable-source-maps', file]
  void t.spawn('env', run, options).then(() => removeFixtures(file))
}

/**
 * A process that a test file left behind, and that has the file's output open, would keep the suite waiting for ever:
 * tap's timeout ends only the file's own process.
 */
function failIfOutputStaysOpen(name) {
  return child => {
    child.on('exit', () => {
      const timer = setTimeout(() => {
        t.fail(`${name} left a process that has its output open`)
        child.stdout.destroy()
      }, OUTPUT_OPEN)
      child.on('close', () => clearTimeout(timer))
    })
  }
}

/**
 * Removes the directories of `t.testdir()` after the process has exited. tap would remove them before it runs
 * the teardowns, which fails if a file is written meanwhile, and open files would keep the process alive.
 */
function removeFixtures(file) {
  for (const name of readdirSync(fixtures)) {
    if (!name.startsWith(file.replaceAll('/', '-'))) continue
    rmSync(join(fixtures, name), { recursive: true, force: true, maxRetries: 3 })
  }
}
