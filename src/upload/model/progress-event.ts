/** Argument of the `progress` event and of `onProgress`. */
export interface ProgressEvent {
  /** Phase of the upload. */
  readonly phase: 'spooling' | 'sealed' | 'completing' | 'published'
  /** Bytes read from the source. With `maxSpoolBytes`, some of them may be only on OSS. */
  readonly spooled: number
  /** Bytes in acknowledged parts. */
  readonly uploaded: number
  /**
   * `uploaded`, and the bytes of parts in flight that have left this machine. Never decreases, and is at most the size:
   * bytes that are sent again count once. Where the system does not report it, bytes in the buffers of sockets have
   * left.
   */
  readonly sent: number
  /** Size of the whole stream in bytes, once known. */
  readonly size?: number
  /** Part counts. */
  readonly parts: {
    /** Number of parts acknowledged by OSS. */
    readonly done: number
    /** Number of parts of the whole stream, once its size is known. */
    readonly total?: number
  }
  /** Bytes/s that leave this machine, averaged over the last seconds; those that are sent again included. */
  readonly rate: number
  /** Estimated remaining time in seconds, once the size and the rate are known. */
  readonly eta?: number
}
