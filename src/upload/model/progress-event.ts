import type { UploadRecord } from '../../disk/checkpoint.js'

/** Argument of the `progress` event and of `onProgress`. */
export interface ProgressEvent {
  /** Phase of the upload. */
  readonly phase: UploadRecord['phase']
  /** Bytes read from the source. With `maxSpoolBytes`, some of them may be only on OSS. */
  readonly spooled: number
  /** Bytes in acknowledged parts. */
  readonly uploaded: number
  /** Size of the whole stream in bytes, once known. */
  readonly size?: number
  /** Part counts. */
  readonly parts: {
    /** Number of parts acknowledged by OSS. */
    readonly done: number
    /** Number of parts of the whole stream, once its size is known. */
    readonly total?: number
  }
  /** Upload rate in bytes/s, averaged over the last seconds. */
  readonly rate: number
  /** Estimated remaining time in seconds, once the size is known and bytes were sent. */
  readonly eta?: number
}
