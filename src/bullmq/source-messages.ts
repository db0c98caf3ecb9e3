/** Messages between a worker and the processes of its sandboxed sources. */
import { errorCode } from '../util/error-code.js'
import { toError } from '../util/error-shape.js'

/** File descriptor to which a process writes the bytes of its source. */
export const OUTPUT_FD = 3

/** What a process does. It gets one task. */
export interface SourceTask {
  /** URL of the module. */
  readonly url: string
  /** The call of a source. Without it, the process lists the names of the sources. */
  readonly call?: {
    readonly source: string
    readonly args: unknown
    readonly offset: number
  }
}

/** The last message of a process. A process that ends without one has failed. */
export type SourceReport =
  /** Names of all sources. */
  | { readonly names: readonly string[] }
  /** The source has ended, and this number of bytes was written. */
  | { readonly end: number }
  | { readonly error: SourceErrorData }

/** Sent to a process whose bytes are no longer needed. */
export const ABORT_MESSAGE = 'abort'

/** What the worker and its failure policy need of an error. */
interface SourceErrorData {
  readonly name: string
  readonly message: string
  readonly stack?: string
  readonly code?: string
  readonly retryable?: boolean
}

export function toErrorData(thrown: unknown): SourceErrorData {
  const error = toError(thrown)
  const { name, message, stack } = error
  const code = errorCode(error)
  return {
    name,
    message,
    ...(stack === undefined ? {} : { stack }),
    ...(code === undefined ? {} : { code }),
    ...('retryable' in error ? { retryable: error.retryable === true } : {}),
  }
}

/** Returns the error of the other process with its message, code and `retryable`. */
export function fromErrorData({ message, ...properties }: SourceErrorData): Error {
  const error = new Error(message)
  for (const [name, value] of Object.entries(properties)) {
    Object.defineProperty(error, name, { value, configurable: true, writable: true })
  }
  return error
}
