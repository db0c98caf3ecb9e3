/**
 * Each of the test files given in a process of its own, some at a time: they often wait. It is one test
 * for `tap run`, and starts them without `NODE_OPTIONS`, since tap makes every process, and every process
 * that one starts, load what measures coverage: a third of the time of all tests.
 */
import { readFileSync } from 'node:fs'
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
for (const file of positionals) {
  // `mockImport` replaces modules while they are loaded, and is the only one to need a loader.
  const mocks = readFileSync(file, 'utf8').includes('mockImport')
  const node = [process.execPath, ...(mocks ? ['--import=@tapjs/mock/import'] : [])]
  const options = { name: file, buffered: true, timeout: Number(values.timeout) * 1000 }
  t.spawn('env', ['-u', 'NODE_OPTIONS', ...node, '--enable-source-maps', file], options)
}
