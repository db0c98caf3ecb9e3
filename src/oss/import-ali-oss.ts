/** Imports `ali-oss` as it is installed, and keeps it from logging secrets. */
import { createRequire } from 'node:module'
import { errorCode } from '../util/error-code.js'

/** Imports `ali-oss`, or a copy of it. */
export type ImportAliOss = () => Promise<{ readonly default: typeof import('ali-oss') }>

const MUTED_NAMESPACES = '-ali-oss,-ali-oss:*'

/** Imports `ali-oss`. Excludes it from `DEBUG`, because it logs headers, including the security token, and strings to sign. */
export const importAliOss: ImportAliOss = async () => {
  const namespaces = process.env['DEBUG']
  if (!namespaces || namespaces.endsWith(MUTED_NAMESPACES)) return import('ali-oss')
  const muted = `${namespaces},${MUTED_NAMESPACES}`
  process.env['DEBUG'] = muted // `debug` reads it when it is loaded
  const module = await import('ali-oss')
  debugOfAliOss()?.enable(muted)
  return module
}

/** Returns the instance of `debug` that `ali-oss` uses, or `undefined` in a bundle. */
function debugOfAliOss(): { enable(namespaces: string): void } | undefined {
  try {
    const aliOss = createRequire(import.meta.url).resolve('ali-oss')
    // We do not depend on the typings of `debug`.
    return createRequire(aliOss)('debug') as { enable(namespaces: string): void }
  } catch (error) {
    // A bundle has no package `ali-oss` and, as CommonJS, no `import.meta.url`.
    if (!['MODULE_NOT_FOUND', 'ERR_INVALID_ARG_VALUE'].includes(errorCode(error) ?? '')) throw error
    return undefined
  }
}
