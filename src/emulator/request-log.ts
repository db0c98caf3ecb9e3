/** What was asked of the emulator, in order of arrival: what tests and benchmarks count on. */
import type { OperationName } from './operations/operation-name.js'

/** One request. It is in the log from its arrival; the rest is filled in as it goes on. */
export interface RequestRecord {
  /** As in `x-oss-request-id`. */
  readonly id: string
  /** ms since the epoch. */
  readonly time: number
  /** HTTP method. */
  readonly method: string
  /** In OSS's words, such as `UploadPart`. */
  operation: OperationName
  /** Bucket it is about. */
  bucket?: string
  /** Key it is about, decoded. */
  key?: string
  /** Part number of UploadPart. */
  partNumber?: number
  /** Upload id it is about. */
  uploadId?: string
  /** Bytes of the request's body that were read. */
  bytes: number
  /** Bytes of the reply's body that were sent. */
  sent: number
  /** HTTP status; absent while it is not decided, or when the connection was cut before. */
  status?: number
  /** OSS's error code. */
  code?: string
  /** The faults that acted, e.g. `reset@done`. */
  fault?: string
}

/** Adds to a log that keeps its newest `limit` entries. */
export function logRequest(log: RequestRecord[], logEntry: RequestRecord, limit: number): void {
  log.push(logEntry)
  // in one go for many, since every shift moves the whole array
  if (log.length > limit * 1.1 + 16) log.splice(0, log.length - limit)
}
