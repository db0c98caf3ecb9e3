/** Input of an operation: a parsed, authenticated and authorized request. */
import type { CallbackKey } from '../callback-key.js'
import type { HeaderMap } from '../http/headers.js'
import type { RequestBody } from '../request-body.js'
import type { RequestRecord } from '../request-log.js'
import type { EmulatorSettings } from '../settings.js'
import type { Versioning } from '../store/record.js'
import type { Store } from '../store/store.js'

/** The ends of the connection that a request came by. */
export interface RequestConnection {
  /** Address of the client. */
  readonly clientIp: string
  /** URL of the emulator as the client reached it. */
  readonly endpoint: string
}

/** An object of any bucket. */
export interface ObjectAddress {
  readonly bucket: string
  readonly key: string
  /** Undefined for the current version. */
  readonly versionId: string | undefined
}

export interface OperationContext {
  readonly method: string
  readonly headers: HeaderMap
  /** Decoded. */
  readonly query: ReadonlyMap<string, string>
  /** '' if the operation addresses the service. */
  readonly bucket: string
  /** '' if the operation addresses the service or a bucket. */
  readonly key: string
  /** Whether the request was signed; anonymous requests have fewer rights. */
  readonly signed: boolean
  /** Host named by the client. */
  readonly host: string
  readonly connection: RequestConnection
  /** Name and id of the request, as in the log. */
  readonly request: Pick<RequestRecord, 'id' | 'operation'>
  /** The server's time, in ms since the epoch. */
  readonly now: number
  readonly body: RequestBody
  readonly store: Store
  readonly settings: EmulatorSettings
  readonly callbackKey: CallbackKey
  /** Versioning of the bucket; undefined if it was never enabled. */
  readonly versioning: Versioning | undefined
  /** Throws unless the client may read this object; used for the sources of copies. */
  readonly authorizeRead: (object: ObjectAddress) => Promise<void>
}

/** Formats a time for `Last-Modified` and `Date`. */
export const httpTime = (iso: string | number): string => new Date(iso).toUTCString()
