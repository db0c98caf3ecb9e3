/** What an operation is given: a request that was understood, authenticated and allowed. */
import type { HeaderMap } from '../http/headers.js'
import type { RequestBody } from '../request-body.js'
import type { EmulatorSettings } from '../settings.js'
import type { Store } from '../store/store.js'

export interface OperationContext {
  readonly method: string
  readonly headers: HeaderMap
  /** Decoded. */
  readonly query: ReadonlyMap<string, string>
  /** '' where the operation is about the service. */
  readonly bucket: string
  /** '' where the operation is about a bucket. */
  readonly key: string
  /** Whether it was signed; anonymous requests may do less. */
  readonly signed: boolean
  /** The host the client named. */
  readonly host: string
  /** The server's time, ms since the epoch. */
  readonly now: number
  readonly body: RequestBody
  readonly store: Store
  readonly settings: EmulatorSettings
  /** Whether a signed or anonymous client may read this object: for the sources of copies. */
  readonly authorizeRead: (bucket: string, key: string) => Promise<void>
}

/** ISO 8601 with ms, as OSS writes times into XML. */
export const isoTime = (ms: number): string => new Date(ms).toISOString()

/** The form of `Last-Modified` and `Date`. */
export const httpTime = (iso: string | number): string => new Date(iso).toUTCString()
