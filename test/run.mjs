/**
 * Runs tap and ends with the one line that sums it up, `N passed, N failed, N skipped`, after tap's
 * own report. Arguments are handed on to tap: files, `--jobs=1`, ...
 */
import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'

const tapPackage = createRequire(import.meta.url).resolve('tap/package.json')
const tap = join(dirname(tapPackage), JSON.parse(readFileSync(tapPackage, 'utf8')).bin.tap)
const directory = mkdtempSync(join(tmpdir(), 'oss-spool-test-'))
const output = join(directory, 'results.tap')

const child = spawn(
  process.execPath,
  [tap, 'run', '--reporter=terse', `--output-file=${output}`, ...process.argv.slice(2)],
  { stdio: 'inherit' },
)
child.on('close', (code, signal) => {
  const { pass, fail, skip } = count(output)
  // A file that timed out or crashed fails the run even if none of its assertions did.
  const failed = fail === 0 && code !== 0 ? 1 : fail
  console.log(`${pass} passed, ${failed} failed, ${skip} skipped`)
  rmSync(directory, { recursive: true, force: true })
  process.exitCode = code ?? (signal === null ? 0 : 1)
})

/** The totals in the last `# { total: 5, pass: 4, skip: 1 }` of tap's output. */
function count(path) {
  const totals =
    readFileSync(path, 'utf8')
      .match(/^# \{ total: .*\}$/gm)
      ?.at(-1) ?? ''
  const of = name => Number(new RegExp(`${name}: (\\d+)`).exec(totals)?.[1] ?? 0)
  return { pass: of('pass'), fail: of('fail'), skip: of('skip') + of('todo') }
}
