/** Compiles the tests, with what they test, into `.tests/`; a type error ends the process. */
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = fileURLToPath(new URL('..', import.meta.url))

const { status } = spawnSync(process.execPath, [program('typescript', 'tsc'), '-p', 'test'], {
  cwd: root,
  stdio: 'inherit',
})
if (status !== 0) process.exit(1)

/** Where a test file's JavaScript is, from the root. */
export function compiled(file) {
  return join('.tests', relative(root, join(root, file))).replace(/ts$/, 'js')
}

/** Path of a program that a package brings. */
export function program(name, bin) {
  const manifest = createRequire(import.meta.url).resolve(`${name}/package.json`)
  return join(dirname(manifest), JSON.parse(readFileSync(manifest, 'utf8')).bin[bin])
}
