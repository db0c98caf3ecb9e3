/** Loads the module of `worker --sources`, whose exported functions produce the bytes of objects. */
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { Sources } from '../bullmq/index.js'
import { UsageError } from './exit-status.js'
import { errorMessage } from '../util/error-shape.js'

/**
 * Resolves to the functions of the default export if that is an object, otherwise to all exported functions.
 * @throws UsageError if the module cannot be loaded or exports no functions
 */
export async function loadSources(path: string): Promise<Sources> {
  let module: Record<string, unknown>
  try {
    module = await import(pathToFileURL(resolve(path)).href)
  } catch (error) {
    throw new UsageError(`${path} cannot be loaded: ${errorMessage(error)}`, { cause: error })
  }
  const { default: defaultExport, ...namedExports } = module
  const entries =
    typeof defaultExport === 'object' && defaultExport !== null
      ? Object.entries(defaultExport)
      : Object.entries(namedExports)
  const sources = entries.filter(([, value]) => typeof value === 'function')
  if (sources.length === 0) {
    throw new UsageError(`${path} exports no functions. Export one function per source.`)
  }
  // Their arguments cannot be checked here: they are defined by the code that adds the jobs.
  return Object.fromEntries(sources) as Sources
}
