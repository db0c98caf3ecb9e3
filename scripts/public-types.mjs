/**
 * Removes the type declarations of a build that no entry point of the package reaches: nobody can import them, and
 * they are a third of the declarations. Usage: node scripts/public-types.mjs BUILD-DIRECTORY
 */
import { readdirSync, readFileSync, rmSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import ts from 'typescript'

const [build = ''] = process.argv.slice(2)
const { exports } = JSON.parse(readFileSync('package.json', 'utf8'))

const reached = new Set()
for (const { types } of Object.values(exports)) {
  if (types !== undefined) reach(join(build, relative('dist', types)))
}
for (const file of readdirSync(build, { recursive: true })) {
  const path = join(build, file)
  if (path.endsWith('.d.ts') && !reached.has(path)) rmSync(path)
}

/** Adds a declaration and all it imports. Fails if one of them was not built. */
function reach(path) {
  if (reached.has(path)) return
  reached.add(path)
  const { importedFiles } = ts.preProcessFile(readFileSync(path, 'utf8'), true, true)
  for (const { fileName } of importedFiles) {
    if (fileName.startsWith('.')) reach(join(dirname(path), fileName.replace(/\.js$/, '.d.ts')))
  }
}
