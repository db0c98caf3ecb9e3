/**
 * Runs tap. After tap's own report, prints a short list of failures and ends with the summary line
 * `N passed, N failed, N skipped`, so that the end of a log is enough.
 *
 * Arguments are test files and options of tap. Without files, it runs all files, but only one in six of those with
 * slow tests unless `LONG` is set. The timeout of a file is then ten minutes, and unlimited when files are named;
 * `--timeout=` (seconds) overrides both. Where the output is not a terminal, each finished file is a line.
 */
import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { glob } from 'tinyglobby'
import { compile, compiled, program, root } from './compile.mjs'
import { sampleSlow } from './slow-files.mjs'

/** Prefixes of the files that take longest, as measured, both in `npm test` and in `npm run torture`. */
const LONGEST = [
  'test/docs.test',
  'test/cli/compression',
  'test/cli/split',
  'test/fleet/',
  'test/crash/',
  'test/etl/exactly-once',
  'test/etl/fleet',
  'test/etl/open-objects',
  'test/cli/jobs',
  'test/cli/doctor',
  'test/cli/monitoring',
  'test/bullmq/',
  'test/etl/',
  'test/cli/',
  'test/hostile/',
  'test/redis/',
]

compile()
const args = process.argv.slice(2)
const named = args.filter(arg => !arg.startsWith('-')).map(file => relative(root, file))
const isLong = process.env['LONG'] !== undefined
const all = named.length > 0 ? named : await glob('test/**/*.test.ts', { cwd: root })
const { chosen: files, left } =
  named.length > 0 || isLong ? { chosen: all, left: [] } : sampleSlow(all)
const unknown = files.filter(file => !existsSync(join(root, file)))
if (unknown.length > 0) {
  console.error(`There is no ${unknown.join(' ')}`)
  process.exit(2)
}
const options = args.filter(arg => arg.startsWith('-'))
const directory = mkdtempSync(join(tmpdir(), 'oss-spool-test-'))
const output = join(directory, 'results.tap')

const limit = named.length > 0 ? ['--timeout=0'] : []
const suite = [...limit, ...options, ...longestFirst(files).map(compiled)].map(
  arg => `--test-arg=${arg}`,
)
// tap's own report redraws its lines, which nobody can read in a log.
const isLog = !process.stdout.isTTY
const report = isLog ? ['--reporter=silent'] : []
const tap = ['run', `--output-file=${output}`, ...report, ...options, '--timeout=0', ...suite]
let printed = 0
const child = spawn(process.execPath, [program('tap', 'tap'), ...tap, 'test/suite.mjs'], {
  cwd: root,
  stdio: 'inherit',
})
const progress = isLog ? setInterval(printFinished, 1_000) : undefined
// tap gets the signal too, or is given it here, and reports before it exits.
for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => child.kill(signal))
child.on('close', (code, signal) => {
  clearInterval(progress)
  if (isLog) printFinished()
  const tapLines = readFileSync(output, 'utf8')
  const { pass, fail, skip } = count(tapLines)
  // A file that timed out or crashed fails the run even if none of its assertions did.
  const failed = fail === 0 && code !== 0 ? 1 : fail
  if (failed > 0) console.log(failures(tapLines))
  const missing = files.map(compiled).filter(file => !tapLines.includes(` - ${file} #`))
  if (missing.length > 0) console.log(`Not finished: ${missing.toSorted().join(' ')}`)
  if (!isLong)
    console.log('Slow tests were skipped or sampled. Run "npm run torture" for all of them.')
  if (left.length > 0) console.log(`Not run this time: ${left.join(' ')}`)
  console.log(`${pass} passed, ${failed} failed, ${skip} skipped`)
  rmSync(directory, { recursive: true, force: true })
  process.exitCode = code ?? (signal === null ? 0 : 1)
})

/** Sorts files so that the longest ones start first, since a run that ends with one of them leaves cores idle. */
function longestFirst(paths) {
  const rank = path => {
    const at = LONGEST.findIndex(prefix => path.startsWith(prefix))
    return at < 0 ? LONGEST.length : at
  }
  return paths.toSorted().toSorted((a, b) => rank(a) - rank(b))
}

/** Prints a line for each file that has finished since the last call. */
function printFinished() {
  const text = existsSync(output) ? readFileSync(output, 'utf8') : ''
  const finished = [...text.matchAll(/^ {4}((?:not )?ok) \d+ - \.tests\/(\S+)\.js # time=(\d+)/gm)]
  for (const [, result, file, ms] of finished.slice(printed)) {
    console.log(`${result} ${file}.ts (${Math.round(ms / 1000)} s)`)
  }
  printed = finished.length
}

/** Returns the totals of the last `# { total: 5, pass: 4, skip: 1 }` line of tap's output. */
function count(tapLines) {
  const totals = tapLines.match(/^# \{ total: .*\}$/gm)?.at(-1) ?? ''
  const of = name => Number(new RegExp(`${name}: (\\d+)`).exec(totals)?.[1] ?? 0)
  return { pass: of('pass'), fail: of('fail'), skip: of('skip') + of('todo') }
}

/** Returns every `not ok` line, innermost first, with the first lines of its diagnostics. */
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
