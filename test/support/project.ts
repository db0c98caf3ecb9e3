/** Resolves paths from the project root. Tests are compiled and run from another directory. */
import { createRequire } from 'node:module'
import { fileURLToPath, pathToFileURL } from 'node:url'

const root = new URL(
  '.',
  pathToFileURL(createRequire(import.meta.url).resolve('oss-spool/package.json')),
)

export function urlOf(path: string): URL {
  return new URL(path, root)
}

export function pathOf(path: string): string {
  return fileURLToPath(urlOf(path))
}
