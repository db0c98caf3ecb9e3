/** The account that owns all buckets: configuration documents that apply to all of them. */
import { readJsonFile, writeJsonFile } from './files.js'
import type { Layout } from './layout.js'
import type { AccountRecord } from './record.js'
import type { Workspace } from './workspace.js'

/** The account of one data directory. */
export interface AccountStore {
  get(): Promise<AccountRecord>
  put(record: AccountRecord): Promise<void>
}

export function createAccountStore(layout: Layout, workspace: Workspace): AccountStore {
  return {
    get: async () => (await readJsonFile<AccountRecord>(layout.accountRecord)) ?? {},
    put: record => writeJsonFile(workspace.tempPath(), layout.accountRecord, record),
  }
}
