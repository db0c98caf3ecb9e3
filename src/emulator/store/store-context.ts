/** State shared by the modules of the store. */
import type { Layout } from './layout.js'
import type { RunExclusive } from './lock.js'
import type { Workspace } from './workspace.js'

/** One data directory. */
export interface StoreContext {
  readonly layout: Layout
  readonly workspace: Workspace
  /** Runs work under a lock shared by all processes. */
  readonly runExclusive: RunExclusive
}
