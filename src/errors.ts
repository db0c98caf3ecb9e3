/**
 * Public errors. A `SpoolError` is a run-time failure with a stable `code`; wrong arguments throw a `TypeError` or
 * `RangeError` in Node's format. No error ever contains a credential: causes are sanitized at their origin
 * (`oss/request-error.ts`).
 */

import { inspect } from 'node:util'
import { CALLS, wordHint, type Hint, type HintWording } from './hint.js'
import { quoteHarmless } from './util/secret-mask.js'

/** Codes of `SpoolError`. `docs/errors.md` describes their causes and remedies. */
export type SpoolErrorCode =
  | 'ERR_SPOOL_UPLOAD_FAILED'
  | 'ERR_SPOOL_DENIED'
  | 'ERR_SPOOL_ENDPOINT'
  | 'ERR_SPOOL_OBJECT_EXISTS'
  | 'ERR_SPOOL_SOURCE_FAILED'
  | 'ERR_SPOOL_UNSEALED'
  | 'ERR_SPOOL_EXPECTATION'
  | 'ERR_SPOOL_VERIFY'
  | 'ERR_SPOOL_FULL'
  | 'ERR_SPOOL_IO'
  | 'ERR_SPOOL_LOCKED'
  | 'ERR_SPOOL_CORRUPT'
  | 'ERR_SPOOL_UNREADABLE'
  | 'ERR_SPOOL_NO_LOCKS'
  | 'ERR_SPOOL_NO_HOLES'
  | 'ERR_SPOOL_ID_IN_USE'
  | 'ERR_SPOOL_NOT_FOUND'
  | 'ERR_SPOOL_INVALID_KEY'
  | 'ERR_SPOOL_ABORTED'

/** Details of a failure besides its code and message. */
export interface SpoolErrorDetails {
  /** Id of the upload; empty if there is none yet. */
  readonly id?: string | undefined
  /**
   * True if and only if `resume(id)` can finish the upload, up to its last commit if it is not sealed, without its
   * source once the cause is fixed.
   */
  readonly resumable?: boolean | undefined
  /** Next step for the user: a text, or (in this package) a function that words the calls it proposes. */
  readonly hint?: Hint | undefined
  /** Part number, if one part failed. */
  readonly part?: number | undefined
  /** Upload id on OSS. */
  readonly uploadId?: string | undefined
  /** OSS's `x-oss-request-id`, for Alibaba's support. */
  readonly requestId?: string | undefined
  /** Host that works on the upload or stores its bytes, if checkpoints are shared. */
  readonly host?: string | undefined
  /** HTTP status of the reply. */
  readonly status?: number | undefined
  /** OSS's own error code, such as `NoSuchBucket`. */
  readonly ossCode?: string | undefined
  /** Underlying error, without credentials. */
  readonly cause?: unknown
}

/** Error of a run-time failure. Match on `code`; show `message` and `hint`. */
export class SpoolError extends Error {
  /** Always `'SpoolError'`. */
  override readonly name = 'SpoolError'
  /** Identifies the failure. Stable: later versions only add codes. */
  readonly code: SpoolErrorCode
  /**
   * True if and only if `resume(id)` can finish the upload, up to its last commit if it is not sealed, without its
   * source once the cause is fixed.
   */
  readonly resumable: boolean
  /** Id of the upload; empty if there is none yet. */
  readonly id: string
  /** Next step for the user. It names calls of this library, which work as they are. */
  readonly hint: string
  readonly #hint: Hint
  /** Part number, if one part failed. */
  declare readonly part?: number
  /** Upload id on OSS, if known. */
  declare readonly uploadId?: string
  /** OSS's `x-oss-request-id`, for Alibaba's support. */
  declare readonly requestId?: string
  /** Host that works on the upload or stores its bytes, if checkpoints are shared. */
  declare readonly host?: string
  /** HTTP status of the reply, if there was one. */
  declare readonly status?: number
  /** OSS's own error code, such as `NoSuchBucket`. */
  declare readonly ossCode?: string

  /** Creates an error. For this package and wrappers of it; users only catch these errors. */
  constructor(code: SpoolErrorCode, message: string, details: SpoolErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause })
    this.code = code
    this.id = details.id ?? ''
    this.resumable = details.resumable ?? false
    this.#hint = details.hint ?? defaultHint(code, this.id, this.resumable)
    this.hint = wordHint(this.#hint, CALLS)
    if (details.part !== undefined) this.part = details.part
    if (details.uploadId !== undefined) this.uploadId = details.uploadId
    if (details.requestId !== undefined) this.requestId = details.requestId
    if (details.host !== undefined) this.host = details.host
    if (details.status !== undefined) this.status = details.status
    if (details.ossCode !== undefined) this.ossCode = details.ossCode
  }

  /** @internal Returns the hint in other words than the library's. */
  hintIn(wording: HintWording): string {
    return wordHint(this.#hint, wording)
  }
}

function defaultHint(code: SpoolErrorCode, id: string, resumable: boolean): Hint {
  switch (code) {
    case 'ERR_SPOOL_LOCKED':
      return 'Wait until its owner ends, or end that process. Then run this again.'
    case 'ERR_SPOOL_OBJECT_EXISTS':
      return 'Choose another key.'
    case 'ERR_SPOOL_UNSEALED':
      return say => `Upload again from the source. To discard the upload, ${say.abort(id)}.`
    case 'ERR_SPOOL_NOT_FOUND':
      return say => `To list the unfinished uploads, ${say.list()}.`
    case 'ERR_SPOOL_CORRUPT':
      return 'Upload again from the source. The damaged files are in the quarantine folder of the spool directory.'
    case 'ERR_SPOOL_UNREADABLE':
      return 'Nothing was changed. Fix the permissions or the disk, or use the oss-spool version that wrote it.'
    case 'ERR_SPOOL_ID_IN_USE':
      return say =>
        `Use another ${say.option('id')}. To discard the other upload, ${say.abort(id)}.`
    case 'ERR_SPOOL_FULL':
      return resumable
        ? say => `All bytes are on disk. Free disk space, then ${say.resume(id)}.`
        : say =>
            `Free disk space, or limit what is kept on disk with ${say.option('maxSpoolBytes')}. Then upload again from the source.`
    default:
      return resumable
        ? say => `All bytes are on disk. Fix the cause, then ${say.resume(id)}.`
        : 'Fix the cause and upload again from the source.'
  }
}

/** What is wrong with an argument, for callers that do not know it by the library's name. */
export interface ArgumentProblem {
  /** Name of the option, such as `partSize` or `retry.attempts`. */
  readonly name: string
  /** The rest of a sentence whose subject is the option. */
  readonly reason: string
  /** Text of the value, unless it is undefined or an object. */
  readonly received?: string
}

const PROBLEM_OF_ERROR = new WeakMap<object, ArgumentProblem>()

/** Returns what is wrong with an argument if an error was made by one of the functions below. */
export function argumentProblem(error: unknown): ArgumentProblem | undefined {
  return typeof error === 'object' && error !== null ? PROBLEM_OF_ERROR.get(error) : undefined
}

function withProblem<E extends Error>(error: E, name: string, reason: string, value: unknown): E {
  const isShown = typeof value === 'string' || typeof value === 'number'
  const received = typeof value === 'number' ? String(value) : inspectValue(value)
  PROBLEM_OF_ERROR.set(error, { name, reason, ...(isShown ? { received } : {}) })
  return error
}

/** Creates a `TypeError` in Node's format for an argument of the wrong type. */
export function invalidType(name: string, expected: string, received: unknown): TypeError {
  const reason = `must be ${expected}`
  const message = `The "${name}" option ${reason}. Received ${inspectValue(received)}`
  const error = withCode(new TypeError(message), 'ERR_INVALID_ARG_TYPE')
  return withProblem(error, name, reason, received)
}

/** @throws TypeError if `value` is not an object */
export function checkObject(name: string, value: unknown): void {
  if (typeof value !== 'object' || value === null) throw invalidType(name, 'an object', value)
}

/**
 * @param known – has a property of each allowed name
 * @throws TypeError for any other property: a mistyped option would silently have no effect
 */
export function checkProperties(
  name: string,
  value: object,
  known: Readonly<Record<string, true>>,
): void {
  for (const property of Object.keys(value)) {
    if (Object.hasOwn(known, property)) continue
    const similar = Object.keys(known).find(each => each.toLowerCase() === property.toLowerCase())
    const names = similar === undefined ? Object.keys(known).join(', ') : `"${similar}"`
    // The value may be a secret.
    const reason = `has no property ${inspectValue(property)}. Allowed: ${names}`
    throw withCode(new TypeError(`The "${name}" argument ${reason}`), 'ERR_INVALID_ARG_VALUE')
  }
}

/** Creates a `TypeError` in Node's format for an argument with an invalid value. */
export function invalidValue(name: string, reason: string, received: unknown): TypeError {
  const message = `The "${name}" option ${reason}. Received ${inspectValue(received)}`
  const error = withCode(new TypeError(message), 'ERR_INVALID_ARG_VALUE')
  return withProblem(error, name, reason, received)
}

/** Creates a `TypeError` in Node's format for a call that is not possible with the given options. */
export function invalidState(message: string): TypeError {
  return withCode(new TypeError(`Invalid state: ${message}`), 'ERR_INVALID_STATE')
}

/** Creates a `RangeError` in Node's format for a number outside its limits. */
export function outOfRange(name: string, range: string, received: unknown): RangeError {
  const reason = `must be ${range}`
  const message = `The value of "${name}" is out of range. It ${reason}. Received ${inspectValue(received)}`
  const error = withCode(new RangeError(message), 'ERR_OUT_OF_RANGE')
  return withProblem(error, name, reason, received)
}

/** @throws TypeError unless each value is `undefined` or a boolean */
export function checkBooleans(options: Readonly<Record<string, unknown>>): void {
  for (const [name, value] of Object.entries(options)) {
    if (value !== undefined && typeof value !== 'boolean')
      throw invalidType(name, 'a boolean', value)
  }
}

/** @throws TypeError or RangeError unless `value` is `undefined` or an integer from `min` to `max` */
export function checkInteger(name: string, value: unknown, min: number, max: number): void {
  if (value === undefined) return
  if (typeof value !== 'number') throw invalidType(name, 'a number', value)
  if (!Number.isSafeInteger(value) || value < min || value > max) {
    throw outOfRange(name, `an integer >= ${min} and <= ${max}`, value)
  }
}

function withCode<E extends Error>(error: E, code: string): E {
  return Object.assign(error, { code })
}

/**
 * Formats a value like Node. Shows only the class of an object, which may contain secrets or be infinite, and no string
 * that may be a secret itself.
 */
function inspectValue(value: unknown): string {
  if (typeof value === 'string') {
    return quoteHarmless(
      value.length > MAX_SHOWN_CHARS ? `${value.slice(0, MAX_SHOWN_CHARS)}...` : value,
    )
  }
  if (value === null || value === undefined) return String(value)
  if (typeof value === 'function') return `function ${value.name}`
  if (typeof value !== 'object') return `type ${typeof value} (${inspect(value)})`
  const { constructor } = value
  return typeof constructor === 'function' ? `an instance of ${constructor.name}` : 'an object'
}

const MAX_SHOWN_CHARS = 200
