/** Reads the sources that a module exports, in the worker and in the processes of sandboxed sources. */
import type { Sources } from './job.js'

/**
 * Imports the module. Resolves to the functions of its default export if that is an object, otherwise to all exported
 * functions.
 */
export async function importSources(url: string): Promise<Sources> {
  const module: Record<string, unknown> = await import(url)
  const { default: defaultExport, ...namedExports } = module
  const entries =
    typeof defaultExport === 'object' && defaultExport !== null
      ? Object.entries(defaultExport)
      : Object.entries(namedExports)
  // Their arguments cannot be checked here: they are defined by the code that adds the jobs.
  return Object.fromEntries(entries.filter(([, value]) => typeof value === 'function')) as Sources
}
