/**
 * The errors users see. A `SpoolError` is a run-time failure with a stable `code`; wrong arguments
 * are `TypeError`/`RangeError` as Node itself makes them. Nothing here ever holds a credential:
 * causes are cleaned where they come from (`oss/failure.ts`).
 */

import { inspect } from 'node:util'

/** Every code a `SpoolError` can have; `docs/errors.md` says when each comes and what to do. */
export type SpoolErrorCode =
  | 'ERR_SPOOL_UPLOAD_FAILED'
  | 'ERR_SPOOL_DENIED'
  | 'ERR_SPOOL_OBJECT_EXISTS'
  | 'ERR_SPOOL_SOURCE_FAILED'
  | 'ERR_SPOOL_UNSEALED'
  | 'ERR_SPOOL_EXPECTATION'
  | 'ERR_SPOOL_VERIFY'
  | 'ERR_SPOOL_FULL'
  | 'ERR_SPOOL_LOCKED'
  | 'ERR_SPOOL_CORRUPT'
  | 'ERR_SPOOL_UNREADABLE'
  | 'ERR_SPOOL_NO_LOCKS'
  | 'ERR_SPOOL_NO_HOLES'
  | 'ERR_SPOOL_ID_IN_USE'
  | 'ERR_SPOOL_NOT_FOUND'
  | 'ERR_SPOOL_INVALID_KEY'
  | 'ERR_SPOOL_ABORTED'

/** What is known about a failure beyond its code and message. */
export interface SpoolErrorDetails {
  /** Id of the upload; empty when there is none yet. */
  readonly id?: string | undefined
  /** True if and only if `resume(id)` can finish the upload without its source, once mended. */
  readonly resumable?: boolean | undefined
  /** What the user does next: one sentence. */
  readonly hint?: string | undefined
  /** Part number, when one part failed. */
  readonly part?: number | undefined
  /** Upload id on OSS. */
  readonly uploadId?: string | undefined
  /** OSS's `x-oss-request-id`: what Alibaba's support asks for. */
  readonly requestId?: string | undefined
  /** Host that works on the upload or has its bytes, where records are shared. */
  readonly host?: string | undefined
  /** HTTP status of the reply. */
  readonly status?: number | undefined
  /** OSS's own error code, such as `NoSuchBucket`. */
  readonly ossCode?: string | undefined
  /** What failed underneath; cleaned of credentials. */
  readonly cause?: unknown
}

/** A failure at run time: match on `code`, show `message` and `hint`. */
export class SpoolError extends Error {
  /** `'SpoolError'`. */
  override readonly name = 'SpoolError'
  /** Which failure it is. Stable: later versions only add codes. */
  readonly code: SpoolErrorCode
  /** True if and only if `resume(id)` can finish the upload without its source, once mended. */
  readonly resumable: boolean
  /** Id of the upload; empty when there is none yet. */
  readonly id: string
  /** What to do next: one sentence for people. */
  readonly hint: string
  /** Part number, when one part failed. */
  declare readonly part?: number
  /** Upload id on OSS, where it is known. */
  declare readonly uploadId?: string
  /** OSS's `x-oss-request-id`: what Alibaba's support asks for. */
  declare readonly requestId?: string
  /** Host that works on the upload or has its bytes, where records are shared. */
  declare readonly host?: string
  /** HTTP status of the reply, if there was one. */
  declare readonly status?: number
  /** OSS's own error code, such as `NoSuchBucket`. */
  declare readonly ossCode?: string

  /** For this package and for wrappers of it: users catch errors, they do not make them. */
  constructor(code: SpoolErrorCode, message: string, details: SpoolErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause })
    this.code = code
    this.id = details.id ?? ''
    this.resumable = details.resumable ?? false
    this.hint = details.hint ?? defaultHint(code, this.id, this.resumable)
    if (details.part !== undefined) this.part = details.part
    if (details.uploadId !== undefined) this.uploadId = details.uploadId
    if (details.requestId !== undefined) this.requestId = details.requestId
    if (details.host !== undefined) this.host = details.host
    if (details.status !== undefined) this.status = details.status
    if (details.ossCode !== undefined) this.ossCode = details.ossCode
  }
}

function defaultHint(code: SpoolErrorCode, id: string, resumable: boolean): string {
  switch (code) {
    case 'ERR_SPOOL_LOCKED':
      return 'Wait for its owner, or end that process; then resume it.'
    case 'ERR_SPOOL_OBJECT_EXISTS':
      return id === ''
        ? 'Choose another key.'
        : `The bytes are kept: "oss-spool resume --force ${id}" publishes them over it, "oss-spool abort ${id}" gives them up.`
    case 'ERR_SPOOL_UNSEALED':
      return `Run its source again, or give it up with "oss-spool abort ${id}".`
    case 'ERR_SPOOL_NOT_FOUND':
      return '"oss-spool ls" shows the unfinished uploads.'
    case 'ERR_SPOOL_CORRUPT':
      return 'Run its source again; what was damaged is in the quarantine folder of the spool directory.'
    case 'ERR_SPOOL_UNREADABLE':
      return 'It was left as it is: mend its permissions or disk, or use the version of oss-spool that wrote it.'
    case 'ERR_SPOOL_ID_IN_USE':
      return `Use another id, or give the other upload up with "oss-spool abort ${id}".`
    default:
      return resumable
        ? `Everything is on this disk: "oss-spool resume ${id}" finishes it once the cause is mended.`
        : 'Mend the cause and run it again from its source.'
  }
}

/** A `TypeError` as Node makes it for an argument of the wrong type. */
export function invalidType(name: string, expected: string, received: unknown): TypeError {
  return withCode(
    new TypeError(`The "${name}" option must be ${expected}. Received ${inspectValue(received)}`),
    'ERR_INVALID_ARG_TYPE',
  )
}

/** @throws TypeError for what has no properties to look at */
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

/** A `TypeError` as Node makes it for an argument whose value makes no sense. */
export function invalidValue(name: string, reason: string, received: unknown): TypeError {
  return withCode(
    new TypeError(`The "${name}" option ${reason}. Received ${inspectValue(received)}`),
    'ERR_INVALID_ARG_VALUE',
  )
}

/** A `RangeError` as Node makes it for a number outside its limits. */
export function outOfRange(name: string, range: string, received: unknown): RangeError {
  return withCode(
    new RangeError(
      `The value of "${name}" is out of range. It must be ${range}. Received ${inspectValue(received)}`,
    ),
    'ERR_OUT_OF_RANGE',
  )
}

/** @throws TypeError or RangeError unless it is an integer in these bounds, or undefined */
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

/** As Node shows it: of an object its class alone, since it may hold a secret, or be endless. */
function inspectValue(value: unknown): string {
  if (typeof value === 'string') {
    return JSON.stringify(
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
