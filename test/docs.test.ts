/**
 * Tests of the documentation. Every example is run unchanged against the built package, and every link must
 * resolve. An example that is not run states the reason and is listed here.
 */
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { spawn } from 'node:child_process'
import { dirname, join } from 'node:path'
import t, { type Test } from 'tap'
import { decodeCheckpoint } from '../src/disk/checkpoint.js'
import { startEmulator } from '../src/emulator/index.js'
import { bare, ended, environment, shell, type Ended } from './support/command-line.js'
import { startRedis } from './support/redis.js'
import { schema } from './support/schema.js'
import {
  exampleGlobals,
  modulesOf,
  transpile,
  typeErrors,
  type Module,
} from './docs/example-modules.js'
import { readPages, ROOT, type Block } from './docs/pages.js'

/** Timeout of an example in ms, after which it is killed and fails. */
const EXAMPLE_TIMEOUT = 120_000

/** Pages that may be linked to before they exist. */
const PLANNED_PAGES: string[] = []

/** All examples that are not run, with the reason. */
const NOT_RUN = [
  'docs/emulator.md: needs Jest or Vitest',
  'docs/jobs.md: a worker runs until it is stopped',
  'docs/security.md: a RAM policy',
  'docs/security.md: a RAM policy',
  'docs/security.md: it is part of a package.json',
  'examples/README.md: each is run by test/examples/',
]

const pages = readPages()
const blocks = pages.flatMap(page => page.blocks)
const where = ({ page, line }: Block): string => `${page}:${line}`

t.test('every code block has a language that is tested, or states why it is not', async t => {
  for (const block of blocks.filter(({ notRun }) => notRun === undefined)) {
    t.ok(['', 'js', 'ts', 'sh', 'json'].includes(block.language), where(block))
    if (block.language === 'json') t.type(block.json, 'string', `${where(block)} names its schema`)
  }
  const notRun = blocks.filter(({ notRun }) => notRun !== undefined)
  t.same(
    notRun.map(block => `${block.page}: ${block.notRun}`),
    NOT_RUN,
  )
})

t.test('every relative link points to a file, and its anchor to a heading', async t => {
  const anchors = new Map(pages.map(page => [page.path, page.anchors]))
  for (const page of pages) {
    const broken = page.links.filter(target => {
      const [file = '', anchor] = target.split('#')
      const path = file === '' ? page.path : join(dirname(page.path), file)
      if (!existsSync(join(ROOT, path))) return !PLANNED_PAGES.includes(path)
      return anchor !== undefined && anchors.get(path)?.has(anchor) !== true
    })
    t.same(broken, [], page.path)
  }
})

t.test('json examples match their schemas', async t => {
  for (const block of blocks.filter(({ language, notRun }) => language === 'json' && !notRun)) {
    if (block.json === 'checkpoint') t.ok(decodeCheckpoint(block.code), where(block))
    else if (block.json?.includes(' ') === false) {
      t.ok(schema(block.json)(JSON.parse(block.code)), where(block))
    }
  }
})

t.test('examples compile and run', async t => {
  const dir = t.testdir({})
  const modules = pages.flatMap(page => modulesOf(page))
  const values = blocks.flatMap(typedValue)
  const sources = [...modules.map(({ source }) => source), ...values]
  sources.forEach((source, i) => {
    writeFileSync(join(dir, `${modules[i]?.name ?? `value-${i}`}.ts`), source)
  })
  t.equal(typeErrors(dir), '', 'examples have no type errors')
  for (const { name, source } of modules) writeFileSync(join(dir, `${name}.js`), transpile(source))
  writeFileSync(join(dir, 'example-globals.js'), exampleGlobals())

  t.jobs = 2
  for (const page of pages) {
    const own = modules.filter(({ block }) => block.page === page.path)
    const together = own.filter(({ block }) => !block.ownProcess)
    if (together.length > 0) {
      t.test(`js and ts examples of ${page.path} run in order`, { buffered: true }, t =>
        runPage(t, dir, together),
      )
    }
    for (const { block, name } of own.filter(({ block }) => block.ownProcess)) {
      t.test(
        `the example at ${where(block)} runs in its own process`,
        { buffered: true },
        async t => {
          const { status, out, err } = await node(join(dir, `${name}.js`), t.testdir({}))
          t.equal(status, 0, `${out}${err}`)
        },
      )
    }
    const scripts = page.blocks.filter(({ language, notRun }) => language === 'sh' && !notRun)
    if (scripts.length > 0) {
      t.test(`shell examples of ${page.path} run in order`, { buffered: true }, t =>
        runShell(t, scripts),
      )
    }
  }
})

/** Runs the programs of a page in order, in one process. */
async function runPage(t: Test, dir: string, modules: readonly Module[]): Promise<void> {
  const env: Record<string, string> = {}
  if (modules.some(({ block }) => block.code.includes('REDIS_URL'))) {
    const redis = await startRedis(t)
    if (redis === undefined) return
    env['REDIS_URL'] = `redis://127.0.0.1:${redis.port}`
  }
  const steps = modules.map(
    ({ block, name }) => `console.log('== ${where(block)}')\nawait import('./${name}.js')\n`,
  )
  const main = join(dir, `${modules[0]?.name}-page.js`)
  const end = `console.log('== end')\nprocess.exit()\n`
  writeFileSync(main, ["import './example-globals.js'\n", ...steps, end].join(''))
  const { status, out, err } = await node(
    main,
    t.testdir({ 'package.json': '{}', 'report.csv': 'a,b\n' }),
    env,
  )
  const failed = status !== 0 || !out.endsWith('== end\n')
  t.notOk(failed, failed ? `at ${/.*== (.*)/s.exec(out)?.[1]}: ${err}` : 'runs to the end')
  if (modules[0]?.block.page !== 'README.md') return
  const [, first = ''] = out.split(/^== .*\n/m)
  t.match(first, /key: 'package\.json\.gz',\n {2}size: \d+,\n {2}crc64: '\d+'/)
  const lines = modules[0].block.code.split('\n').filter(line => line !== '')
  t.ok(lines.length <= 15, 'the first example has at most 15 lines')
}

/** Runs the commands of a page in order, in one shell. Other programs that they start are stand-ins. */
async function runShell(t: Test, scripts: readonly Block[]): Promise<void> {
  // Outside the checkout, where commands about a package would apply to this one.
  const dir = mkdtempSync(join(tmpdir(), 'oss-spool-docs-'))
  t.teardown(() => rmSync(dir, { recursive: true, force: true }))
  writeFileSync(join(dir, 'report.csv'), 'a,b\n1,2\n')
  mkdirSync(join(dir, '.bin'))
  writeFileSync(join(dir, '.bin/pg_dump'), '#!/bin/sh\nseq 20000\n', { mode: 0o755 })
  const oss = await startEmulator({ dir: join(dir, 'server'), createBuckets: true })
  t.teardown(() => oss.close())
  const steps = scripts.map(block => `echo '== ${where(block)}'\n${block.before}\n${block.code}`)
  const line = `set -e\n${steps.join('\n')}\necho '== end'`
  const { status, out, err } = await shell(dir, line, environment(oss)).done
  const failed = status !== 0 || !out.endsWith('== end\n')
  t.notOk(failed, failed ? `at ${/.*== (.*)/s.exec(out)?.[1]}: ${err}` : 'runs to the end')
}

function node(file: string, cwd: string, env: Record<string, string> = {}): Promise<Ended> {
  const args = ['-u', 'NODE_OPTIONS', process.execPath, file]
  return ended(spawn('env', args, { cwd, env: bare(cwd, env), timeout: EXAMPLE_TIMEOUT }))
}

/** Returns a module that type-checks a block with `<!-- json: Manifest of oss-spool/etl -->`. */
function typedValue({ json, code }: Block): string[] {
  const [type, module] = json?.split(' of ') ?? []
  if (module === undefined) return []
  return [`export const value: import('${module}').${type} = ${code}`]
}
