/**
 * A fault: which requests it meets, at which moment, and what then happens. Plain JSON, so that it
 * can be written in a table and sent to an emulator in another process.
 */
import type { OperationName } from '../operations/operation-name.js'

/**
 * The moments of a request:
 * - `start`: its headers are read, nothing was done;
 * - `body`: `after` bytes of its body are read (default: half of it);
 * - `received`: its whole body is read, nothing was done;
 * - `done`: what it asks for is done and on disk, the reply is not sent;
 * - `reply`: `after` bytes of the reply's body are sent (default: half of it).
 *
 * A request without a body passes `body` and `received` right after `start`.
 */
export type FaultPoint = 'start' | 'body' | 'received' | 'done' | 'reply'

/** Which requests a fault meets; all that is given must hold. */
export interface FaultMatch {
  /** One operation or several, in OSS's words. Default: every one. */
  readonly operation?: OperationName | readonly OperationName[]
  /** Requests about this bucket. Default: any. */
  readonly bucket?: string
  /** Requests about this key. Default: any. */
  readonly key?: string
  /** UploadPart with one of these numbers. Default: any request. */
  readonly partNumber?: number | readonly number[]
  /** The first of the matching requests that is met, counted from 1. Default 1. */
  readonly nth?: number
  /** How many are met from there on. Default 1; with `probability`, 'always'. */
  readonly times?: number | 'always'
  /** Each request from `nth` on is met with this probability, 0 to 1. Default 1. */
  readonly probability?: number
  /** Starts the random numbers of `probability`: the same seed, the same choices. Default 1. */
  readonly seed?: number
}

/** What happens. Bytes are counted in the body that is under way: of the request or of the reply. */
export type FaultAction =
  | {
      /** This answer instead of the real one. At `done` the request has its effect all the same. */
      readonly do: 'answer'
      /** HTTP status. */
      readonly status: number
      /** OSS's error code: makes its error XML. */
      readonly code?: string
      /** Message in that XML. Default: `code`. */
      readonly message?: string
      /** Detailed code in that XML, such as `0003-00001403`. */
      readonly ec?: string
      /** Any other text instead of XML, such as a proxy's HTML. */
      readonly body?: string
      /** Headers of the answer, beside the usual ones. */
      readonly headers?: Readonly<Record<string, string>>
      /** Default `start`, after the body was drained. */
      readonly at?: Exclude<FaultPoint, 'reply'>
    }
  | {
      /** The connection is reset. */
      readonly do: 'reset'
      /** Default `start`; at `done` the effect is there and the reply lost. */
      readonly at?: FaultPoint
      /** At `body` and `reply`: after so many bytes. Default: half of them. */
      readonly after?: number
    }
  | {
      /** Nothing more happens until the fault is released or removed, or the emulator closes. */
      readonly do: 'hang'
      /** Default `start`. */
      readonly at?: FaultPoint
      /** At `body` and `reply`: after so many bytes. Default: half of them. */
      readonly after?: number
    }
  | {
      /** A pause. */
      readonly do: 'delay'
      /** How long, in ms. */
      readonly ms: number
      /** Default `done`. */
      readonly at?: FaultPoint
      /** At `body` and `reply`: after so many bytes. Default: half of them. */
      readonly after?: number
    }
  | {
      /** Body and reply of this request are slow. */
      readonly do: 'slow'
      /** Bytes per second, in each direction. */
      readonly bandwidth: number
    }
  | {
      /** The reply's body ends early, as if it were complete. */
      readonly do: 'truncate'
      /** After so many bytes. Default: half of them. */
      readonly after?: number
    }
  | {
      /** The reply says something untrue. */
      readonly do: 'alter'
      /** Headers to set; `null` leaves one out. */
      readonly headers?: Readonly<Record<string, string | null>>
      /** Texts of the body, each replaced everywhere. */
      readonly replace?: readonly (readonly [search: string, replacement: string])[]
    }
  | {
      /** Stored parts of the request's upload are lost. */
      readonly do: 'drop-part'
      /** Their part numbers. Default: the request's own. */
      readonly parts?: readonly number[]
      /** Default `start`. */
      readonly at?: FaultPoint
    }
  | {
      /** The request's upload is forgotten, as if it had been aborted. */
      readonly do: 'drop-upload'
      /** Default `start`. */
      readonly at?: FaultPoint
    }
  | {
      /** The STS token of the request has expired, for this and every later request. */
      readonly do: 'expire'
    }
  | {
      /** The server's clock is wrong while it looks at this request. */
      readonly do: 'skew'
      /** So many ms ahead; negative: behind. */
      readonly ms: number
    }

/** One line of the table. */
export type Fault = FaultMatch & FaultAction

/** A fault that was injected. */
export interface FaultHandle {
  /** As it was injected. */
  readonly fault: Fault
  /** How often its moment was reached. */
  readonly hits: number
  /**
   * Resolves once its moment was reached `count` times (default 1), at once if it was. At `done`
   * the effect is on disk by then.
   */
  hit(count?: number): Promise<void>
  /** Lets hanging requests go on; later ones still hang. */
  release(): void
  /** Takes the fault out of the table and releases what hangs on it. */
  remove(): void
}

const DEFAULT_FAULT_POINTS: Readonly<Record<FaultAction['do'], FaultPoint>> = {
  answer: 'start',
  reset: 'start',
  hang: 'start',
  delay: 'done',
  slow: 'start',
  truncate: 'reply',
  alter: 'done',
  'drop-part': 'start',
  'drop-upload': 'start',
  expire: 'start',
  skew: 'start',
}

/** When the fault acts. */
export function faultPointOf(fault: Fault): FaultPoint {
  return 'at' in fault && fault.at !== undefined ? fault.at : DEFAULT_FAULT_POINTS[fault.do]
}
