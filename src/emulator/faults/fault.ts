/**
 * Faults: which requests they match, at which point they fire, and their effect. Plain JSON, so that
 * they can be listed in a table and sent to an emulator in another process.
 */
import type { OperationName } from '../operations/operation-name.js'

/**
 * Points in the handling of a request at which a fault can fire:
 * - `start`: the headers have been read, nothing has been done;
 * - `body`: `after` bytes of the request's body have been read (default: half of it, or all if its length is unknown);
 * - `received`: the whole body has been read, nothing has been done;
 * - `done`: the operation is done and on disk, the reply has not been sent;
 * - `reply`: `after` bytes of the reply's body have been sent (default: half of it).
 *
 * A request without a body passes `body` and `received` immediately after `start`.
 */
export type FaultPoint = 'start' | 'body' | 'received' | 'done' | 'reply'

/** Requests that a fault applies to. A request must match all fields that are set. */
export interface FaultMatch {
  /** One operation or several, by OSS's names. Default: all. */
  readonly operation?: OperationName | readonly OperationName[]
  /** Bucket that the request addresses. Default: any. */
  readonly bucket?: string
  /** Key that the request addresses. Default: any. */
  readonly key?: string
  /** One part number or several. Default: any request. */
  readonly partNumber?: number | readonly number[]
  /** First matching request that the fault applies to, counted from 1. Default 1. */
  readonly nth?: number
  /** Number of requests, from `nth` on, that the fault applies to. Default 1; with `probability`, 'always'. */
  readonly times?: number | 'always'
  /** Probability, 0 to 1, that the fault applies to each request from `nth` on. Default 1. */
  readonly probability?: number
  /** Seed of the random numbers for `probability`; the same seed makes the same choices. Default 1. */
  readonly seed?: number
}

/**
 * Effect of a fault. Bytes are counted in the body being transferred, i.e. of the request at `body` and of
 * the reply at `reply`.
 */
export type FaultAction =
  | {
      /** Replaces the real reply. At `done` the request still takes effect. */
      readonly do: 'answer'
      /** HTTP status. */
      readonly status: number
      /** OSS error code. If set, the reply is OSS's error XML. */
      readonly code?: string
      /** Message in the XML. Default: `code`. */
      readonly message?: string
      /** Detailed code (EC) in the XML, e.g. `0003-00001403`. */
      readonly ec?: string
      /** Text to send instead of XML, e.g. a proxy's HTML. */
      readonly body?: string
      /** Headers of the reply, in addition to the usual ones; `null` leaves one out. */
      readonly headers?: Readonly<Record<string, string | null>>
      /** Point at which it fires; the rest of the body is then drained before the reply. Default `start`. */
      readonly at?: Exclude<FaultPoint, 'reply'>
    }
  | {
      /** Resets the connection. */
      readonly do: 'reset'
      /** Point at which it fires. Default `start`. At `done` the request takes effect and the reply is lost. */
      readonly at?: FaultPoint
      /** At `body` and `reply`, number of bytes before it fires. Default: half of the body. */
      readonly after?: number
    }
  | {
      /** Suspends the request until the fault is released or removed, or the emulator closes. */
      readonly do: 'hang'
      /** Point at which it fires. Default `start`. */
      readonly at?: FaultPoint
      /** At `body` and `reply`, number of bytes before it fires. Default: half of the body. */
      readonly after?: number
    }
  | {
      /** Delays the request. */
      readonly do: 'delay'
      /** Length of the delay, in ms. */
      readonly ms: number
      /** Point at which it fires. Default `done`. */
      readonly at?: FaultPoint
      /** At `body` and `reply`, number of bytes before it fires. Default: half of the body. */
      readonly after?: number
    }
  | {
      /** Limits the bandwidth of the request's body and its reply. */
      readonly do: 'slow'
      /** Bytes per second, in each direction. */
      readonly bandwidth: number
    }
  | {
      /** Shortens the reply's body and its Content-Length, so that it looks complete. */
      readonly do: 'truncate'
      /** Length of the body, in bytes. Default: half. */
      readonly after?: number
    }
  | {
      /** Alters headers or text of the reply. */
      readonly do: 'alter'
      /** Headers to set; `null` removes one. */
      readonly headers?: Readonly<Record<string, string | null>>
      /** Replacements in a text body, each applied to all occurrences. */
      readonly replace?: readonly (readonly [search: string, replacement: string])[]
    }
  | {
      /** Deletes stored parts of the request's upload. */
      readonly do: 'drop-part'
      /** Part number or numbers. Default: the part number of the request. */
      readonly parts?: number | readonly number[]
      /** Point at which it fires. Default `start`. */
      readonly at?: FaultPoint
    }
  | {
      /** Deletes the request's upload, as if it had been aborted. */
      readonly do: 'drop-upload'
      /** Point at which it fires. Default `start`. */
      readonly at?: FaultPoint
    }
  | {
      /** Expires the STS token of the request, for this and all later requests. */
      readonly do: 'expire'
    }
  | {
      /** Skews the server's clock while it handles this request. */
      readonly do: 'skew'
      /** Skew in ms; negative values set the clock back. */
      readonly ms: number
    }

/** A fault that the emulator injects: requests to match and an effect. */
export type Fault = FaultMatch & FaultAction

/** Handle of an injected fault. */
export interface FaultHandle {
  /** The fault as injected. */
  readonly fault: Fault
  /** Number of times the fault has fired. */
  readonly hits: number
  /**
   * Resolves when the fault has fired `count` times (default 1), immediately if it already has. At
   * `done` the request's effect is on disk by then.
   */
  hit(count?: number): Promise<void>
  /** Resumes the requests that hang on it; later ones still hang. */
  release(): void
  /** Removes the fault and resumes the requests that hang on it. */
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

/** Returns the point at which a fault fires. */
export function faultPointOf(fault: Fault): FaultPoint {
  return 'at' in fault && fault.at !== undefined ? fault.at : DEFAULT_FAULT_POINTS[fault.do]
}
