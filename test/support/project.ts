/** Files of this project by their path from its root: tests are compiled, and run from elsewhere. */
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
