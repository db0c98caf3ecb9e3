/**
 * Resolves optional peers from the project of the user, for a global installation of oss-spool, which has none.
 */
import module, { createRequire, type ResolveHook } from 'node:module'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { packageFile } from '../util/package-file.js'
import { initialize, resolve } from './resolve-hook.js'

/** In-process hooks, since Node 22.15; the typings are those of Node 20. */
type RegisterHooks = (hooks: { resolve: ResolveHook }) => unknown

/** Lets the packages that are not installed with oss-spool be imported from the first of these folders that has them. */
export function resolveFromProject(names: readonly string[], folders: readonly string[]): void {
  const missing = names.filter(name => !canImport(name))
  const importers = folders.map(folder => join(folder, 'importer.mjs'))
  const importer = importers.find(path => missing.some(name => isInstalled(name, path)))
  if (importer === undefined) return
  const data = { names: missing, importer: pathToFileURL(importer).href }
  if ('registerHooks' in module) {
    initialize(data)
    ;(module.registerHooks as RegisterHooks)({ resolve })
  } else module.register(packageFile('dist/cli/resolve-hook.js'), { data })
}

function canImport(name: string): boolean {
  try {
    import.meta.resolve(name)
    return true
  } catch {
    return false
  }
}

function isInstalled(name: string, importer: string): boolean {
  const folders = createRequire(importer).resolve.paths(name) ?? []
  return folders.some(folder => existsSync(join(folder, name)))
}
