/** Compiles tests and sources to JavaScript in `.tests/`, and bundles tap for them. */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { buildSync } from 'esbuild'

export const root = fileURLToPath(new URL('..', import.meta.url))

/** Compiles everything. Exits the process on a type error. */
export function compile() {
  const { status } = spawnSync(process.execPath, [program('typescript-7', 'tsc'), '-p', 'test'], {
    cwd: root,
    stdio: 'inherit',
  })
  if (status !== 0) process.exit(1)
  bundleTap()
}

/**
 * Writes `.tests/node_modules/tap`, which the compiled tests import: tap as one file, since each test file is a process
 * and loading the many files of tap takes a third of the time of the smaller ones. With `--conditions=unbundled`, it is
 * the installed package, which shares its state with its loader for mocks.
 */
function bundleTap() {
  const packages = join(root, '.tests/node_modules')
  const manifestFile = join(packages, 'tap/package.json')
  const installed = dirname(createRequire(import.meta.url).resolve('tap/package.json'))
  const { version } = JSON.parse(readFileSync(join(installed, 'package.json'), 'utf8'))
  const manifest = JSON.stringify({
    type: 'module',
    version,
    exports: { unbundled: './unbundled.js', default: './bundled.js' },
  })
  if (existsSync(manifestFile) && readFileSync(manifestFile, 'utf8') === manifest) return
  const reexport = from => `export * from '${from}'\nexport { default } from '${from}'\n`
  buildSync({
    stdin: { contents: reexport('tap'), resolveDir: root },
    bundle: true,
    format: 'esm',
    platform: 'node',
    keepNames: true,
    logLevel: 'warning',
    banner: {
      js: "import { createRequire as newRequire } from 'node:module'; const require = newRequire(import.meta.url)",
    },
    // tap leaves the frames of packages of this scope out of its stacks.
    outfile: join(packages, '@tapjs/bundle/index.mjs'),
  })
  mkdirSync(dirname(manifestFile), { recursive: true })
  const write = (name, text) => writeFileSync(join(packages, 'tap', name), text)
  write('bundled.js', reexport('../@tapjs/bundle/index.mjs'))
  write('unbundled.js', reexport(pathToFileURL(join(installed, 'dist/esm/index.js')).href))
  write('package.json', manifest)
}

/** Returns the path of a test file's JavaScript. Both paths are relative to the root. */
export function compiled(file) {
  return join('.tests', file).replace(/ts$/, 'js')
}

/** Returns the path of a package's program. */
export function program(name, bin) {
  const manifest = createRequire(import.meta.url).resolve(`${name}/package.json`)
  return join(dirname(manifest), JSON.parse(readFileSync(manifest, 'utf8')).bin[bin])
}
