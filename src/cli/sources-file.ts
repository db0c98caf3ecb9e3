/** The module that `worker --sources` names: functions by name, which make the bytes of objects. */
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { Sources } from '../bullmq/index.js'
import { UsageError } from './exit-status.js'

/**
 * Loads it: its default export, an object of functions, or else all functions it exports.
 * @throws UsageError when it cannot be loaded or has none
 */
export async function loadSources(path: string): Promise<Sources> {
  let module: Record<string, unknown>
  try {
    module = await import(pathToFileURL(resolve(path)).href)
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new UsageError(`${path} cannot be loaded: ${reason}`, { cause: error })
  }
  const { default: defaultExport, ...namedExports } = module
  const entries =
    typeof defaultExport === 'object' && defaultExport !== null
      ? Object.entries(defaultExport)
      : Object.entries(namedExports)
  const sources = entries.filter(([, value]) => typeof value === 'function')
  if (sources.length === 0) {
    throw new UsageError(`${path} exports no functions: each one that it exports is a source`)
  }
  // What their arguments are is between them and whoever adds the jobs.
  return Object.fromEntries(sources) as Sources
}
