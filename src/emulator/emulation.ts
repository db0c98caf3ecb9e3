/** What all requests of one emulator share. */
import type { Credentials } from './auth/credentials.js'
import type { FaultTable } from './faults/fault-table.js'
import type { Line } from './link.js'
import type { RequestRecord } from './request-log.js'
import type { Settings } from './settings.js'
import type { Store } from './store/store.js'

export interface Emulation {
  readonly settings: Settings
  readonly store: Store
  readonly credentials: Credentials
  readonly faults: FaultTable
  readonly line: Line
  readonly requests: RequestRecord[]
  /** Aborted when the emulator closes: all waiting ends. */
  readonly signal: AbortSignal
  /** Takes a failure of the emulator itself. */
  readonly report: (error: unknown) => void
}
