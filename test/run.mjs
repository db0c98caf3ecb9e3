/**
 * Runs tap and ends with the one line that sums it up, `N passed, N failed, N skipped`, after tap's
 * own report and a short list of what failed: a log that keeps only its end still tells.
 * Arguments: test files (all, if there are none), and options of tap. A file has two minutes when all
 * are run, and any time when it is named; `--timeout=` (seconds) says otherwise.
 */
import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { glob } from 'tinyglobby'
import { compile, compiled, program, root } from './compile.mjs'

compile()
const args = process.argv.slice(2)
const named = args.filter(arg => !arg.startsWith('-')).map(file => relative(root, file))
const files = named.length > 0 ? named : await glob('test/**/*.test.ts', { cwd: root })
const options = args.filter(arg => arg.startsWith('-'))
const directory = mkdtempSync(join(tmpdir(), 'oss-spool-test-'))
const output = join(directory, 'results.tap')

const limit = named.length > 0 ? ['--timeout=0'] : []
const suite = [...limit, ...options, ...files.toSorted().map(compiled)].map(
  arg => `--test-arg=${arg}`,
)
const tap = ['run', `--output-file=${output}`, ...options, '--timeout=0', ...suite]
const child = spawn(process.execPath, [program('tap', 'tap'), ...tap, 'test/suite.mjs'], {
  cwd: root,
  stdio: 'inherit',
})
child.on('close', (code, signal) => {
  const tapLines = readFileSync(output, 'utf8')
  const { pass, fail, skip } = count(tapLines)
  // A file that timed out or crashed fails the run even if none of its assertions did.
  const failed = fail === 0 && code !== 0 ? 1 : fail
  if (failed > 0) console.log(failures(tapLines))
  if (process.env['LONG'] === undefined) console.log('What takes long is in "npm run torture".')
  console.log(`${pass} passed, ${failed} failed, ${skip} skipped`)
  rmSync(directory, { recursive: true, force: true })
  process.exitCode = code ?? (signal === null ? 0 : 1)
})

/** The totals in the last `# { total: 5, pass: 4, skip: 1 }` of tap's output. */
function count(tapLines) {
  const totals = tapLines.match(/^# \{ total: .*\}$/gm)?.at(-1) ?? ''
  const of = name => Number(new RegExp(`${name}: (\\d+)`).exec(totals)?.[1] ?? 0)
  return { pass: of('pass'), fail: of('fail'), skip: of('skip') + of('todo') }
}

/** Every `not ok` line, innermost first, with the first lines of its diagnosis. */
function failures(tapLines) {
  const lines = tapLines.split('\n')
  return lines
    .flatMap((line, at) => {
      if (!/^ *not ok /.test(line)) return []
      const end = lines.findIndex((l, i) => i > at && /^ *\.\.\.$/.test(l))
      const diagnosis = /^ *---$/.test(lines[at + 1] ?? '') ? lines.slice(at + 2, end) : []
      return [line, ...diagnosis.slice(0, 20)]
    })
    .join('\n')
}
