/** What the parts of the store share: where things are, and how one waits for another. */
import type { Layout } from './layout.js'
import type { RunExclusive } from './lock.js'
import type { Workspace } from './workspace.js'

/** One data directory. */
export interface StoreContext {
  readonly layout: Layout
  readonly workspace: Workspace
  /** Work that no other process does at the same time. */
  readonly runExclusive: RunExclusive
}
