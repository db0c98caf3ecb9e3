/**
 * Events of an upload on Node's diagnostics channels. This file defines all channels and their shapes and is the
 * only one that publishes to them. Without a subscriber, no event is created; there are no events per chunk, and
 * none contains a credential, a header or an error text.
 */
import { channel, type Channel } from 'node:diagnostics_channel'
import { isFinishable, type Checkpoint } from '../../disk/checkpoint.js'
import { errorKind, type RequestErrorKind, type OssRequestError } from '../../oss/request-error.js'
import type { CutPart } from '../model/plan.js'
import type { ProgressEvent } from '../model/progress-event.js'

/** Fields of every event on a diagnostics channel: the upload concerned. */
export interface DiagnosticsContext {
  /** Id of the upload. */
  readonly id: string
  /** Endpoint of the bucket. */
  readonly endpoint: string
  /** Bucket of the object. */
  readonly bucket: string
  /** Key of the object. */
  readonly key: string
}

/** Maps each diagnostics channel (`node:diagnostics_channel`) to the shape of its events. Times are in ms, sizes in bytes. */
export interface SpoolEvents {
  /** Work on an upload begins. `published` or `failed` follows unless the process dies. */
  'oss-spool:upload:start': DiagnosticsContext & {
    /** True if the upload was already sealed or committed, so that it is finished without its source. */
    readonly resumed: boolean
    /** Bytes in the temp file that were left by an earlier run and are reused. */
    readonly spooled: number
    /** Host that had the upload and its bytes, if it is continued here without them. */
    readonly takenOverFrom?: string
  }
  /** The source ended successfully and every byte is on disk. Not published for `resumed` uploads. */
  'oss-spool:upload:sealed': DiagnosticsContext & {
    /** Size of the whole stream. */
    readonly size: number
    /** Time since the start. */
    readonly elapsed: number
  }
  /** OSS holds the verified object. `sent`, `skipped` and `parts` have the same meaning as in the result. */
  'oss-spool:upload:published': DiagnosticsContext & {
    /** True if the upload was already sealed or committed. */
    readonly resumed: boolean
    /** Size of the object. */
    readonly size: number
    /** Number of parts; 1 for a single PutObject. */
    readonly parts: number
    /** Bytes sent by this call. */
    readonly sent: number
    /** Bytes that OSS had already. */
    readonly skipped: number
    /** Time since the start. */
    readonly elapsed: number
  }
  /** The work ended without an object. */
  'oss-spool:upload:failed': DiagnosticsContext & {
    /** `ERR_SPOOL_*`, a system error's code, or the error's name. */
    readonly code: string
    /** True if `resume` can finish the upload without its source. */
    readonly resumable: boolean
    /** Time since the start. */
    readonly elapsed: number
  }
  /** OSS acknowledged a part, or the single request of a small object (as part 1). */
  'oss-spool:part:sent': DiagnosticsContext & {
    /** Part number, from 1. */
    readonly part: number
    /** Size of the part. */
    readonly size: number
    /** Time since its first attempt began, including waits and retries. */
    readonly elapsed: number
  }
  /** A request with a part, or the single request of a small object (as part 1), failed or was aborted. */
  'oss-spool:part:failed': DiagnosticsContext & {
    /** Part number, from 1. */
    readonly part: number
    /** Bytes of its body that the system had accepted for sending. */
    readonly sent: number
  }
  /** OSS already has the part, with the same bytes, so it is not sent. */
  'oss-spool:part:found': DiagnosticsContext & {
    /** Part number, from 1. */
    readonly part: number
    /** Size of the part. */
    readonly size: number
  }
  /** A request failed and will be retried; a part under a new upload id if the old one is gone. */
  'oss-spool:retry': DiagnosticsContext & {
    /** Name of the OSS operation, such as `UploadPart`. */
    readonly operation: string
    /** Kind of the failure. */
    readonly reason: RequestErrorKind
    /** HTTP status, if there was a response. */
    readonly status?: number
    /** OSS's own error code, if known. */
    readonly ossCode?: string
    /** OSS's id of the failed request, if known. */
    readonly requestId?: string
    /** Part number, if a part is concerned. */
    readonly part?: number
  }
  /** The checkpoint was written and fsynced: on every change of phase, and otherwise at most once a second. */
  'oss-spool:checkpoint': DiagnosticsContext & {
    /** Phase of the upload. */
    readonly phase: ProgressEvent['phase']
    /** Bytes in the temp file so far. */
    readonly spooled: number
    /** Bytes in acknowledged parts so far. */
    readonly uploaded: number
    /** Duration of the write. */
    readonly elapsed: number
  }
}

type EventName = keyof SpoolEvents

const channels: Readonly<Record<EventName, Channel>> = {
  'oss-spool:upload:start': channel('oss-spool:upload:start'),
  'oss-spool:upload:sealed': channel('oss-spool:upload:sealed'),
  'oss-spool:upload:published': channel('oss-spool:upload:published'),
  'oss-spool:upload:failed': channel('oss-spool:upload:failed'),
  'oss-spool:part:sent': channel('oss-spool:part:sent'),
  'oss-spool:part:failed': channel('oss-spool:part:failed'),
  'oss-spool:part:found': channel('oss-spool:part:found'),
  'oss-spool:retry': channel('oss-spool:retry'),
  'oss-spool:checkpoint': channel('oss-spool:checkpoint'),
}

/** Publishes the events of one upload in one run. */
export class Diagnostics {
  readonly #checkpoint: () => Checkpoint
  #startedAt = performance.now()
  #resumed = false

  /** @param checkpoint – returns the upload's current checkpoint */
  constructor(checkpoint: () => Checkpoint) {
    this.#checkpoint = checkpoint
  }

  /** @param takenOverFrom – host whose upload is continued here without its bytes */
  started(
    { resumed, spooled }: { resumed: boolean; spooled: number },
    takenOverFrom?: string,
  ): void {
    this.#startedAt = performance.now()
    this.#resumed = resumed
    this.#publish('oss-spool:upload:start', () => ({
      resumed,
      spooled,
      ...(takenOverFrom === undefined ? {} : { takenOverFrom }),
    }))
  }

  published(object: { size: number; parts: number; sent: number; skipped: number }): void {
    const { size, parts, sent, skipped } = object
    this.#publish('oss-spool:upload:published', () => ({
      resumed: this.#resumed,
      size,
      parts,
      sent,
      skipped,
      elapsed: this.#elapsed,
    }))
  }

  failed(error: unknown): void {
    this.#publish('oss-spool:upload:failed', () => {
      const { code, name, resumable }: { code?: unknown; name?: unknown; resumable?: unknown } =
        Object(error)
      return {
        code: String(code ?? name),
        resumable: resumable === true,
        elapsed: this.#elapsed,
      }
    })
  }

  /** @param since – start of the first attempt, by `performance.now()` */
  partSent({ number: part, size }: Pick<CutPart, 'number' | 'size'>, since: number): void {
    this.#publish('oss-spool:part:sent', () => ({ part, size, elapsed: performance.now() - since }))
  }

  /** @param sent – bytes of the body that had left */
  partFailed(part: number, sent: number): void {
    this.#publish('oss-spool:part:failed', () => ({ part, sent }))
  }

  partFound(part: number, size: number): void {
    this.#publish('oss-spool:part:found', () => ({ part, size }))
  }

  retry(failure: OssRequestError, part?: number): void {
    this.#publish('oss-spool:retry', () => {
      const { operation, status, ossCode, requestId } = failure
      return {
        operation,
        reason: errorKind(failure),
        ...(status === undefined ? {} : { status }),
        ...(ossCode === undefined ? {} : { ossCode }),
        ...(requestId === undefined ? {} : { requestId }),
        ...(part === undefined ? {} : { part }),
      }
    })
  }

  /** Reports that the checkpoint `now` is on disk and replaces `before`. */
  written(before: Checkpoint | null, now: Checkpoint, elapsed: number): void {
    const { phase, spooled, uploaded } = now.upload
    this.#publish('oss-spool:checkpoint', () => ({ phase, spooled, uploaded, elapsed }))
    const open = before === null || before.upload.phase === 'spooling'
    if (!open || !isFinishable(now.upload)) return
    if (now.upload.prefix === true) return // sealed at a commit: its source did not end
    this.#publish('oss-spool:upload:sealed', () => ({ size: spooled, elapsed: this.#elapsed }))
  }

  get #elapsed(): number {
    return performance.now() - this.#startedAt
  }

  #publish<N extends EventName>(
    name: N,
    fields: () => Omit<SpoolEvents[N], keyof DiagnosticsContext>,
  ): void {
    const to = channels[name]
    if (!to.hasSubscribers) return
    const { id, endpoint, bucket, key } = this.#checkpoint()
    to.publish({ id, endpoint, bucket, key, ...fields() })
  }
}
