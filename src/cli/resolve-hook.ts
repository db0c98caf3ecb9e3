/** Module hook that resolves some packages elsewhere. Node 20 runs it in a thread of its own. */
import type { ResolveHook } from 'node:module'

/** What is resolved elsewhere. */
export interface Redirect {
  readonly names: readonly string[]
  /** URL of a module. */
  readonly importer: string
}

/** `undefined` before `initialize()`. */
let redirect: Redirect | undefined

/** Called by Node in the thread of the hooks. */
export function initialize(data: Redirect): void {
  redirect = data
}

/** Resolves the names of the redirect as if its importer imported them. */
export const resolve: ResolveHook = (specifier, context, nextResolve) => {
  if (redirect?.names.includes(specifier) !== true) return nextResolve(specifier, context)
  return nextResolve(specifier, { ...context, parentURL: redirect.importer })
}
