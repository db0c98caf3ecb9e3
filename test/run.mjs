/**
 * Compiles the tests with what they test (`.tests/`), runs tap, and ends with the one line that sums it
 * up, `N passed, N failed, N skipped`, after tap's own report and a short list of what failed: a log
 * that keeps only its end still tells. Compiled once, for all files: a test that compiled what it
 * imports for itself would spend four of its five seconds with that.
 * Arguments: test files (all, if none), and options of tap such as `--jobs=1`.
 */
import { spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { glob } from 'tinyglobby'

const root = fileURLToPath(new URL('..', import.meta.url))
const compiler = spawnSync(process.execPath, [program('typescript', 'tsc'), '-p', 'test'], {
  cwd: root,
  stdio: 'inherit',
})
if (compiler.status !== 0) process.exit(1)

const args = process.argv.slice(2)
const files = args.filter(arg => !arg.startsWith('-'))
const sources = files.length > 0 ? files : await glob('test/**/*.test.ts', { cwd: root })
const compiled = sources.map(file =>
  join('.tests', relative(root, join(process.cwd(), file))).replace(/ts$/, 'js'),
)

const directory = mkdtempSync(join(tmpdir(), 'oss-spool-test-'))
const output = join(directory, 'results.tap')
const options = args.filter(arg => arg.startsWith('-'))
const child = spawn(
  process.execPath,
  [program('tap', 'tap'), 'run', `--output-file=${output}`, ...options, ...compiled],
  { cwd: root, stdio: 'inherit' },
)
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

/** Path of a program that a package brings. */
function program(name, bin) {
  const manifest = createRequire(import.meta.url).resolve(`${name}/package.json`)
  return join(dirname(manifest), JSON.parse(readFileSync(manifest, 'utf8')).bin[bin])
}

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
