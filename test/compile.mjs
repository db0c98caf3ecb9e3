/** Compiles tests and sources to JavaScript in `.tests/`. */
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = fileURLToPath(new URL('..', import.meta.url))

/** Compiles everything. Exits the process on a type error. */
export function compile() {
  const { status } = spawnSync(process.execPath, [program('typescript-7', 'tsc'), '-p', 'test'], {
    cwd: root,
    stdio: 'inherit',
  })
  if (status !== 0) process.exit(1)
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
