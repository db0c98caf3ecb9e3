/** State shared by all requests of one emulator. */
import type { CredentialStore } from './auth/credentials.js'
import type { CallbackKey } from './callback-key.js'
import type { Clock } from './clock.js'
import type { FaultTable } from './faults/fault-table.js'
import type { Network } from './simulated-network.js'
import type { RequestRecord } from './request-log.js'
import type { EmulatorSettings } from './settings.js'
import type { Store } from './store/store.js'

export interface EmulatorContext {
  readonly settings: EmulatorSettings
  readonly store: Store
  readonly credentialStore: CredentialStore
  readonly faultTable: FaultTable
  readonly network: Network
  readonly requests: RequestRecord[]
  readonly callbackKey: CallbackKey
  readonly clock: Clock
  /** Aborted when the emulator closes; ends all waits. */
  readonly signal: AbortSignal
  /** Reports an internal failure of the emulator. */
  readonly reportError: (error: unknown) => void
}
