/**
 * What operators can measure: an upload's events on Node's diagnostics channels. Here is every channel,
 * its shape, and the only place that publishes. Where nobody has subscribed nothing is made, nothing is
 * ever done per chunk, and no event holds a credential, a header or an error's text.
 */
import { channel, type Channel } from 'node:diagnostics_channel'
import type { Checkpoint } from '../../disk/checkpoint.js'
import { errorKind, type RequestErrorKind, type OssRequestError } from '../../oss/request-error.js'
import type { CutPart } from '../model/plan.js'

/** Which upload an event is about; in all of them. */
export interface DiagnosticsContext {
  /** Name of the upload. */
  readonly id: string
  /** Where it goes. */
  readonly endpoint: string
  /** Bucket of the object. */
  readonly bucket: string
  /** Key of the object. */
  readonly key: string
}

/** The channels and what is published on them. Times are in ms, sizes in bytes. */
export interface SpoolEvents {
  /** Work on an upload begins; what follows in this process ends with `published` or `failed`. */
  'oss-spool:upload:start': DiagnosticsContext & {
    /** It was sealed before: it is finished without its source. */
    readonly resumed: boolean
    /** Bytes that an earlier run left in the temp file and that are used again. */
    readonly spooled: number
  }
  /** The source has ended well and every byte is on the disk. Not of one that is `resumed`. */
  'oss-spool:upload:sealed': DiagnosticsContext & {
    /** Bytes of the whole. */
    readonly size: number
    /** Since the start. */
    readonly elapsed: number
  }
  /** OSS holds the object, verified. `sent`, `skipped`, `parts`: as in the result. */
  'oss-spool:upload:published': DiagnosticsContext & {
    /** It was sealed before. */
    readonly resumed: boolean
    /** Bytes of the object. */
    readonly size: number
    /** Number of parts; 1 for a single PutObject. */
    readonly parts: number
    /** Bytes sent by this call. */
    readonly sent: number
    /** Bytes that OSS had already. */
    readonly skipped: number
    /** Since the start. */
    readonly elapsed: number
  }
  /** The work ended without an object. */
  'oss-spool:upload:failed': DiagnosticsContext & {
    /** `ERR_SPOOL_*`, a system error's code, or the error's name. */
    readonly code: string
    /** `resume` can finish it without its source. */
    readonly resumable: boolean
    /** Since the start. */
    readonly elapsed: number
  }
  /** OSS acknowledged a part that was sent, or the one request of a small object (part 1). */
  'oss-spool:part:sent': DiagnosticsContext & {
    /** Part number, from 1. */
    readonly part: number
    /** Bytes of the part. */
    readonly size: number
    /** Since its first attempt began, with all waits and retries. */
    readonly elapsed: number
  }
  /** OSS has a part already with the same bytes: it is not sent. */
  'oss-spool:part:found': DiagnosticsContext & {
    /** Part number, from 1. */
    readonly part: number
    /** Bytes of the part. */
    readonly size: number
  }
  /** A request failed and will be made again; a part under a new upload id, if the old one is gone. */
  'oss-spool:retry': DiagnosticsContext & {
    /** In OSS's words, such as `UploadPart`. */
    readonly operation: string
    /** Which kind of failure it was. */
    readonly reason: RequestErrorKind
    /** HTTP status, if there was a reply. */
    readonly status?: number
    /** OSS's own error code, if it gave one. */
    readonly ossCode?: string
    /** OSS's id of the failed request, if it gave one. */
    readonly requestId?: string
    /** Part number, where it is about one. */
    readonly part?: number
  }
  /** The checkpoint was written and fsynced: at changes of phase, and once a second at most. */
  'oss-spool:checkpoint': DiagnosticsContext & {
    /** Where the upload stands. */
    readonly phase: Checkpoint['upload']['phase']
    /** Bytes in the temp file so far. */
    readonly spooled: number
    /** Bytes in acknowledged parts so far. */
    readonly uploaded: number
    /** What the write took. */
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
  'oss-spool:part:found': channel('oss-spool:part:found'),
  'oss-spool:retry': channel('oss-spool:retry'),
  'oss-spool:checkpoint': channel('oss-spool:checkpoint'),
}

/** The events of one upload in one run. */
export class Diagnostics {
  readonly #checkpoint: () => Checkpoint
  #startedAt = performance.now()
  #resumed = false

  /** `upload`: its checkpoint as it is now. */
  constructor(upload: () => Checkpoint) {
    this.#checkpoint = upload
  }

  started({ resumed, spooled }: { resumed: boolean; spooled: number }): void {
    this.#startedAt = performance.now()
    this.#resumed = resumed
    this.#publish('oss-spool:upload:start', () => ({ resumed, spooled }))
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

  /** `since`: when its first attempt began, by `performance.now()`. */
  partSent({ number: part, size }: Pick<CutPart, 'number' | 'size'>, since: number): void {
    this.#publish('oss-spool:part:sent', () => ({ part, size, elapsed: performance.now() - since }))
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

  /** `now` is on the disk, in the place of `before`. */
  written(before: Checkpoint | null, now: Checkpoint, elapsed: number): void {
    const { phase, spooled, uploaded } = now.upload
    this.#publish('oss-spool:checkpoint', () => ({ phase, spooled, uploaded, elapsed }))
    const open = before === null || before.upload.phase === 'spooling'
    if (!open || (phase !== 'sealed' && phase !== 'completing')) return
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
