import type { UploadRecord } from '../../disk/checkpoint.js'

/** The `progress` event. */
export interface ProgressEvent {
  /** Where the upload stands. */
  readonly phase: UploadRecord['phase']
  /** Bytes taken from the source; of a bounded spool, some are only on OSS. */
  readonly spooled: number
  /** Bytes in acknowledged parts. */
  readonly uploaded: number
  /** Bytes of the whole stream, once known. */
  readonly size?: number
  /** Numbers of parts. */
  readonly parts: {
    /** Acknowledged by OSS. */
    readonly done: number
    /** Of the whole, once its size is known. */
    readonly total?: number
  }
  /** Bytes per second to OSS, over the last seconds. */
  readonly rate: number
  /** Seconds to go, once the size is known and something moved. */
  readonly eta?: number
}
