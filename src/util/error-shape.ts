/**
 * Errors, decided by shape. `instanceof Error` is false for an error of another realm: in a `node:vm` context, such as
 * a test file of Jest, every error of Node's core is one.
 */
import { inspect } from 'node:util'

/** True for everything that has a name and a message, such as an error of any realm or a `DOMException`. */
export function isError(value: unknown): value is Error {
  if (typeof value !== 'object' || value === null) return false
  if (!('name' in value && 'message' in value)) return false
  return typeof value.name === 'string' && typeof value.message === 'string'
}

/** Returns whether `value` is a `TypeError` or `RangeError`, the errors for wrong arguments. */
export function isArgumentError(value: unknown): value is Error {
  return isError(value) && (value.name === 'TypeError' || value.name === 'RangeError')
}

/** The message of an error, or the text of anything else that was thrown. */
export function errorMessage(thrown: unknown): string {
  if (isError(thrown)) return thrown.message
  return typeof thrown === 'string' ? thrown : inspect(thrown) // `String()` throws for some objects
}

/** Returns an error unchanged, and an error that shows anything else that was thrown. */
export function toError(thrown: unknown): Error {
  return isError(thrown) ? thrown : new Error(inspect(thrown))
}
