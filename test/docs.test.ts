/**
 * Tests of the documentation. Every example is run unchanged in a project like that of a reader: the packed package
 * and the packages that the page says to install. Every link must resolve. An example that is not run states the reason and is listed here.
 */
import { existsSync, mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { fileURLToPath } from 'node:url'
import { spawn } from 'node:child_process'
import { dirname, join } from 'node:path'
import t, { type Test } from 'tap'
import { decodeCheckpoint } from '../src/disk/checkpoint.js'
import { startEmulator } from '../src/emulator/index.js'
import { bare, ended, environment, type Ended } from './support/command-line.js'
import { install, pack } from './support/installed.js'
import { sampled } from './support/long.js'
import { startRedis } from './support/redis.js'
import { schema } from './support/schema.js'
import {
  GLOBALS_SOURCE,
  modulesOf,
  transpile,
  typeErrors,
  type Module,
} from './docs/example-modules.js'
import { pageScript } from './docs/page-script.js'
import { installedBy, readPages, ROOT, type Block, type Page } from './docs/pages.js'

/** Timeout of an example in ms, after which it is killed and fails. */
const EXAMPLE_TIMEOUT = 120_000

/** Pages take seconds each, so only some of them run with the other tests. `LONG=1` runs all of them. */
const ONE_IN = 5

/** Packages that type-checking the examples needs in addition. */
const TYPES = ['@types/node', '@types/ali-oss', 'ali-oss', 'stream-chain']

/** Address of Redis on the pages. */
const REDIS_ADDRESS = '127.0.0.1:6379'

const NPM_STAND_IN = fileURLToPath(new URL('docs/npm.js', import.meta.url))
const REAL_NPM = join(dirname(process.execPath), 'npm')

/** Pages that may be linked to before they exist. */
const PLANNED_PAGES: string[] = []

/** All examples that are not run, with the reason. */
const NOT_RUN = [
  'docs/http-uploads.md: test/docs/registry.test.ts runs it with Express',
  'docs/http-uploads.md: test/docs/registry.test.ts runs it with Fastify',
  'docs/live-check.md: needs a bucket of OSS',
  'docs/live-check.md: a RAM policy',
  'docs/security.md: a RAM policy',
  'docs/security.md: a RAM policy',
  'docs/security.md: it is part of a package.json',
  'docs/split.md: a unit of systemd',
  'docs/testing.md: test/docs/registry.test.ts runs it with Vitest',
  'docs/testing.md: test/docs/registry.test.ts runs it with Jest',
  'docs/testing.md: test/docs/registry.test.ts runs it with Jest',
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
    const files = [...page.text.matchAll(/`(test\/[\w/-]+\.test\.ts)`/g)].map(
      ([, file = '']) => file,
    )
    t.same(
      files.filter(file => !existsSync(join(ROOT, file))),
      [],
      `tests named by ${page.path} exist`,
    )
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

t.test('examples compile and run in a project with the packed package', async t => {
  // Outside the checkout, whose packages and whose package.json must not be found.
  const dir = realpathSync(mkdtempSync(join(tmpdir(), 'oss-spool-docs-')))
  t.teardown(() => rmSync(dir, { recursive: true, force: true }))
  const packed = pack(dir)
  const modules = pages.flatMap(page => modulesOf(page))

  const checked = join(dir, 'types')
  install(checked, packed, [...new Set(pages.flatMap(installedBy)), ...TYPES])
  const sources = [...modules.map(({ source }) => source), ...blocks.flatMap(typedValue)]
  sources.forEach((source, i) => {
    writeFileSync(join(checked, `${modules[i]?.name ?? `value-${i}`}.mts`), source)
  })
  writeFileSync(join(checked, 'example-globals.mts'), GLOBALS_SOURCE)
  t.same(typeErrors(checked).split('\n'), [''], 'examples have no type errors')

  const withPrograms = pages.filter(page => programsOf(page).length > 0)
  const readme = withPrograms.filter(({ path }) => path === 'README.md')
  const others = withPrograms.filter(page => !readme.includes(page))
  t.jobs = 2
  for (const page of [...readme, ...sampled(t, others, ONE_IN)]) {
    const programs = programsOf(page)
    const project = join(dir, page.path.replaceAll(/\W/g, '-'))
    createProject(project, packed, page)
    const own = modules.filter(({ block }) => block.page === page.path)
    for (const { name, source } of own)
      writeFileSync(join(project, `${name}.mjs`), transpile(source))
    const together = own.filter(({ block }) => !block.ownProcess)
    if (together.length > 0) {
      t.test(`js and ts examples of ${page.path} run in order`, { buffered: true }, t =>
        runPage(t, project, together),
      )
    }
    for (const { block, name } of own.filter(({ block }) => block.ownProcess)) {
      t.test(
        `the example at ${where(block)} runs in its own process`,
        { buffered: true },
        async t => {
          const { status, out, err } = await node(join(project, `${name}.mjs`), project)
          t.equal(status, 0, `${out}${err}`)
        },
      )
    }
    if (programs.some(({ language }) => language === 'sh')) {
      t.test(`shell examples of ${page.path} run in order`, { buffered: true }, t =>
        runShell(t, project, packed, page),
      )
    }
  }
})

function programsOf({ blocks: all }: Page): Block[] {
  return all.filter(({ language, notRun }) => language !== 'json' && !notRun)
}

/** Creates what a reader of the page has: the package, what the page says to install, and the files it names. */
function createProject(project: string, packed: string, page: Page): void {
  mkdirSync(project)
  // As `npm init -y` does.
  writeFileSync(join(project, 'package.json'), '{ "name": "project", "type": "commonjs" }')
  install(project, packed, installedBy(page))
  for (const { file, code } of page.blocks)
    if (file !== undefined) writeFileSync(join(project, file), code)
  writeFileSync(join(project, 'report.csv'), 'a,b\n1,2\n')
  const globals = join(project, '.globals')
  install(globals, packed, ['ali-oss', 'stream-chain'])
  writeFileSync(join(globals, 'example-globals.mjs'), transpile(GLOBALS_SOURCE))
}

/** Runs the programs of a page in order, in one process. */
async function runPage(t: Test, project: string, modules: readonly Module[]): Promise<void> {
  const env: Record<string, string> = {}
  if (modules.some(({ block }) => block.code.includes('REDIS_URL'))) {
    const redis = await startRedis(t)
    if (redis === undefined) return
    env['REDIS_URL'] = `redis://127.0.0.1:${redis.port}`
  }
  const steps = modules.map(
    ({ block, name }) => `console.log('== ${where(block)}')\nawait import('./${name}.mjs')\n`,
  )
  const main = join(project, 'page.mjs')
  const end = `console.log('== end')\nprocess.exit()\n`
  writeFileSync(main, ["import './.globals/example-globals.mjs'\n", ...steps, end].join(''))
  const { status, out, err } = await node(main, project, env)
  const failed = status !== 0 || !out.endsWith('== end\n')
  t.notOk(failed, failed ? `at ${/.*== (.*)/s.exec(out)?.[1]}: ${err}` : 'runs to the end')
  if (modules[0]?.block.page !== 'README.md') return
  const [, first = ''] = out.split(/^== .*\n/m)
  t.match(first, /key: 'package\.json\.gz',\n {2}size: \d+,\n {2}crc64: '\d+'/)
  const lines = modules[0].block.code.split('\n').filter(line => line !== '')
  t.ok(lines.length <= 15, 'the first example has at most 15 lines')
}

/** Stands in for programs that print JSON. */
const JSON_LINES = `#!/bin/sh\nseq 1000 | sed 's/.*/{"country":"DE","id":&}/'\n`

/** Runs the commands of a page in order, in one shell. Other programs that they start are stand-ins. */
async function runShell(t: Test, project: string, packed: string, page: Page): Promise<void> {
  const bin = join(project, '.bin')
  mkdirSync(bin)
  writeFileSync(join(bin, 'pg_dump'), '#!/bin/sh\nseq 20000\n', { mode: 0o755 })
  for (const name of ['journalctl', 'kcat'])
    writeFileSync(join(bin, name), JSON_LINES, { mode: 0o755 })
  const npm = `#!/bin/sh\nexec '${process.execPath}' '${NPM_STAND_IN}' "$@"\n`
  writeFileSync(join(bin, 'npm'), npm, { mode: 0o755 })
  const oss = await startEmulator({ dir: join(project, 'server'), createBuckets: true })
  t.teardown(() => oss.close())
  let script = pageScript(page.blocks)
  if (script.includes(REDIS_ADDRESS)) {
    const redis = await startRedis(t)
    if (redis === undefined) return
    script = script.replaceAll(REDIS_ADDRESS, `127.0.0.1:${redis.port}`)
  }
  const path = [bin, join(project, 'node_modules/.bin'), dirname(process.execPath)]
  const env = bare(project, {
    ...environment(oss),
    PATH: [...path, process.env['PATH']].join(':'),
    PACKED: packed,
    NPM: REAL_NPM,
    npm_config_offline: 'true',
  })
  const options = { cwd: project, env, timeout: EXAMPLE_TIMEOUT }
  const args = ['-u', 'NODE_OPTIONS', 'bash', '-c', script]
  const { status, out, err } = await ended(spawn('env', args, options))
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
