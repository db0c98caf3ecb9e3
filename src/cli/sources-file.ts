/** Loads the module of `worker --sources`, whose exported functions produce the bytes of objects. */
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { Sources } from '../bullmq/index.js'
import { sandboxedSources } from '../bullmq/sandboxed-sources.js'
import { importSources } from '../bullmq/source-module.js'
import { UsageError } from './exit-status.js'
import { errorMessage } from '../util/error-shape.js'

/**
 * Resolves to the functions of the default export if that is an object, otherwise to all exported functions.
 * @throws UsageError if the module cannot be loaded or exports no functions
 */
export function loadSources(path: string): Promise<Sources> {
  return checked(path, importSources(pathToFileURL(resolve(path)).href))
}

/** Like `loadSources`, but the module is loaded only by the processes in which its functions run. */
export function loadSandboxedSources(path: string): Promise<Sources> {
  return checked(path, sandboxedSources(path))
}

async function checked(path: string, loading: Promise<Sources>): Promise<Sources> {
  const sources = await loading.catch((cause: unknown) => {
    throw new UsageError(`${path} cannot be loaded: ${errorMessage(cause)}`, { cause })
  })
  if (Object.keys(sources).length > 0) return sources
  throw new UsageError(`${path} exports no functions. Export one function per source.`)
}
