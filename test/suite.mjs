/**
 * Each of the test files given in a process of its own, some at a time: they often wait. It is one test
 * for `tap run`, and starts them without `NODE_OPTIONS`, since tap makes every process, and every process
 * that one starts, load what measures coverage: a third of the time of all tests.
 */
import { mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import t from 'tap'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  strict: false, // the other options are tap's
  options: {
    jobs: { type: 'string', default: '3' },
    // Seconds of one file; 0: none. What hangs is to be told, not waited for.
    timeout: { type: 'string', default: process.env['LONG'] === undefined ? '120' : '1800' },
  },
})
t.jobs = Number(values.jobs)
const fixtures = join('.tap', 'fixtures')
mkdirSync(fixtures, { recursive: true })
for (const file of positionals) {
  // `mockImport` replaces modules while they are loaded, and is the only one to need a loader.
  const mocks = readFileSync(file, 'utf8').includes('mockImport')
  const node = [process.execPath, ...(mocks ? ['--import=@tapjs/mock/import'] : [])]
  const options = { name: file, buffered: true, timeout: Number(values.timeout) * 1000 }
  const run = ['-u', 'NODE_OPTIONS', 'TAP_SAVE_FIXTURE=1', ...node, '--enable-source-maps', file]
  void t.spawn('env', run, options).then(() => removeFixtures(file))
}

/**
 * What `t.testdir()` made, once the process is gone. By itself, tap removes it before it runs the teardowns: a
 * file that is written meanwhile fails that, and what is still open keeps the process from ending.
 */
function removeFixtures(file) {
  for (const name of readdirSync(fixtures)) {
    if (!name.startsWith(file.replaceAll('/', '-'))) continue
    rmSync(join(fixtures, name), { recursive: true, force: true, maxRetries: 3 })
  }
}
