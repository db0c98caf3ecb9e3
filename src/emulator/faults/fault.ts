/**
 * A fault: which requests it meets, at which moment, and what then happens. Plain JSON, so that it
 * can be written in a table and sent to an emulator in another process.
 */
import type { OperationName } from '../operations/name.js'

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
export type Moment = 'start' | 'body' | 'received' | 'done' | 'reply'

/** Which requests a fault meets; all that is given must hold. */
export interface FaultMatch {
  /** Default: every operation. */
  readonly operation?: OperationName | readonly OperationName[]
  readonly bucket?: string
  readonly key?: string
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

/** What happens. */
export type FaultAction =
  /**
   * This answer instead of the real one. At `done` the request has its effect all the same.
   * `code` makes OSS's error XML, `body` any other text, e.g. a proxy's HTML. Default at `start`,
   * after the body was drained.
   */
  | {
      readonly do: 'answer'
      readonly status: number
      readonly code?: string
      readonly message?: string
      readonly ec?: string
      readonly body?: string
      readonly headers?: Readonly<Record<string, string>>
      readonly at?: Exclude<Moment, 'reply'>
    }
  /** The connection is reset. Default at `start`; at `done` the effect is there and the reply lost. */
  | { readonly do: 'reset'; readonly at?: Moment; readonly after?: number }
  /** Nothing more happens until the fault is released or removed, or the emulator closes. */
  | { readonly do: 'hang'; readonly at?: Moment; readonly after?: number }
  /** A pause of `ms`. Default at `done`. */
  | { readonly do: 'delay'; readonly ms: number; readonly at?: Moment; readonly after?: number }
  /** Body and reply of this request go at `bandwidth` bytes/s. */
  | { readonly do: 'slow'; readonly bandwidth: number }
  /** The reply's body ends early, after `after` bytes (default: half), as if it were complete. */
  | { readonly do: 'cut'; readonly after?: number }
  /**
   * The reply says something untrue: `headers` are set (null: left out), and in its text each
   * `[search, replacement]` of `replace` is replaced everywhere.
   */
  | {
      readonly do: 'lie'
      readonly headers?: Readonly<Record<string, string | null>>
      readonly replace?: readonly (readonly [search: string, replacement: string])[]
    }
  /** Stored parts of the request's upload are lost: `parts`, default the request's own. Default at `start`. */
  | { readonly do: 'drop'; readonly parts?: readonly number[]; readonly at?: Moment }
  /** The request's upload is forgotten, as if it had been aborted. Default at `start`. */
  | { readonly do: 'forget'; readonly at?: Moment }
  /** The STS token of the request has expired, for this and every later request. */
  | { readonly do: 'expire' }
  /** The server's clock is `ms` ahead (negative: behind) while it looks at this request. */
  | { readonly do: 'skew'; readonly ms: number }

/** One line of the table. */
export type Fault = FaultMatch & FaultAction

/** A fault that was injected. */
export interface FaultHandle {
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

const DEFAULT_MOMENT: Readonly<Record<FaultAction['do'], Moment>> = {
  answer: 'start',
  reset: 'start',
  hang: 'start',
  delay: 'done',
  slow: 'start',
  cut: 'reply',
  lie: 'done',
  drop: 'start',
  forget: 'start',
  expire: 'start',
  skew: 'start',
}

/** When the fault acts. */
export function momentOf(fault: Fault): Moment {
  return 'at' in fault && fault.at !== undefined ? fault.at : DEFAULT_MOMENT[fault.do]
}
