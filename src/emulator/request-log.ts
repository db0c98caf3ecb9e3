/** Log of the requests in order of arrival, for tests and benchmarks. */
import type { OperationName } from './operations/operation-name.js'

/** A request to the emulator. It is logged when it arrives; the other fields are filled in while it is handled. */
export interface RequestRecord {
  /** Request id, as in `x-oss-request-id`. */
  readonly id: string
  /** Time of arrival, in ms since the epoch. */
  readonly time: number
  /** HTTP method. */
  readonly method: string
  /** OSS's name of the operation, e.g. `UploadPart`. */
  operation: OperationName
  /** Bucket that it addresses. */
  bucket?: string
  /** Key that it addresses, decoded. */
  key?: string
  /** Part number of UploadPart. */
  partNumber?: number
  /** Upload id that it names. */
  uploadId?: string
  /** Bytes read of the request's body. */
  bytes: number
  /** Bytes sent of the reply's body. */
  sent: number
  /** HTTP status; absent until it is decided, or if the connection was cut before. */
  status?: number
  /** OSS error code, if the reply is an error. */
  code?: string
  /** Faults that fired, separated by spaces, e.g. `reset@done`. */
  fault?: string
}

/** Appends to a log that keeps at least its newest `limit` entries. */
export function logRequest(log: RequestRecord[], logEntry: RequestRecord, limit: number): void {
  log.push(logEntry)
  // drop many entries at once, since every shift() moves the whole array
  if (log.length > limit * 1.1 + 16) log.splice(0, log.length - limit)
}
