/** The options that operations depend on, with defaults filled in. */
import type { AccessKey } from './auth/credentials.js'

export interface EmulatorSettings {
  /** Region id with its prefix, e.g. `oss-cn-hangzhou`. */
  readonly region: string
  readonly accessKeys: readonly [AccessKey, ...AccessKey[]]
  readonly createBuckets: boolean
  readonly verify: boolean | 'crc64'
  readonly discard: boolean
  /** ms without a byte of a body before 400 RequestTimeout. */
  readonly idleTimeout: number
  /** Address or name to listen on. */
  readonly host: string
  /** Whether requests of web pages of other origins, and unsigned ones with any Host, are accepted. */
  readonly allowBrowsers: boolean
  /** Whether everybody can sign, because `DEFAULT_KEY` is one of the keys. */
  readonly hasPublicKey: boolean
  readonly cnames: Readonly<Record<string, string>>
  /** Number of entries that the log keeps. */
  readonly maxRequests: number
}

/** The only account, which owns everything. */
export const OWNER = { ID: '1283641033516515', DisplayName: '1283641033516515' }
