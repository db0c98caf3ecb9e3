/**
 * The packed package in projects of users. Installs without a registry: the package is unpacked, and packages that it
 * depends on, or that a page says to install, are links into this checkout. Nothing else can be imported.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, symlinkSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { pathOf } from './project.js'

const MODULES = pathOf('node_modules')

interface Manifest {
  readonly bin?: string | Readonly<Record<string, string>>
  readonly dependencies?: Readonly<Record<string, string>>
}

/** Packs the package and unpacks it below `directory`. Returns the path of its files. */
export function pack(directory: string): string {
  // Without scripts, because other tests use the build at the same time.
  const options = ['--ignore-scripts', '--silent', '--pack-destination', directory]
  const name = execute('npm', ['pack', ...options], pathOf('.')).trim()
  return unpack(join(directory, name))
}

/** Unpacks a tarball of the package next to it. Returns the path of its files. */
export function unpack(tarball: string): string {
  execute('tar', ['-xzf', tarball], dirname(tarball))
  return join(dirname(tarball), 'package')
}

/**
 * Installs packages into a project, as `npm install` does.
 * @param packed – path that `pack()` returned
 * @param names – `oss-spool`, or packages of this checkout, with or without a version
 */
export function install(project: string, packed: string, names: readonly string[]): void {
  for (const name of names.map(each => each.replace(/(?<=.)@.*$/, ''))) {
    const target = join(project, 'node_modules', name)
    if (existsSync(target)) continue
    mkdirSync(dirname(target), { recursive: true })
    if (name === 'oss-spool') installPackage(packed, target)
    else link(name, dirname(target))
    linkCommands(project, name)
  }
}

/** Copies the package, so that its peers are resolved from the project, and links its dependencies. */
function installPackage(packed: string, target: string): void {
  execute('cp', ['-al', packed, target], dirname(target))
  for (const name of Object.keys(manifestOf(target).dependencies ?? {})) {
    const directory = join(target, 'node_modules', dirname(name))
    mkdirSync(directory, { recursive: true })
    link(name, directory)
  }
}

function link(name: string, directory: string): void {
  const source = join(MODULES, name)
  if (!existsSync(source)) throw new Error(`${name} is not a package of this checkout`)
  symlinkSync(source, join(directory, name.split('/').at(-1) ?? ''))
}

function linkCommands(project: string, name: string): void {
  const { bin = {} } = manifestOf(join(project, 'node_modules', name))
  const directory = join(project, 'node_modules', '.bin')
  mkdirSync(directory, { recursive: true })
  for (const [command, file] of Object.entries(typeof bin === 'string' ? { [name]: bin } : bin)) {
    const path = join(directory, command)
    if (!existsSync(path)) symlinkSync(join('..', name, file), path)
  }
}

function manifestOf(directory: string): Manifest {
  return JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8')) as Manifest // written by npm
}

function execute(program: string, args: readonly string[], cwd: string): string {
  const env = { ...process.env, NODE_OPTIONS: '' }
  const { status, stdout, stderr, error } = spawnSync(program, args, { cwd, env, encoding: 'utf8' })
  if (status !== 0)
    throw new Error(`${program} ${args.join(' ')} failed: ${stderr}`, { cause: error })
  return stdout
}
