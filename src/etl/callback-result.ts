/** Results of the caller's functions. */
import { types } from 'node:util'
import { invalidType } from '../errors.js'

/**
 * Creates the error for a function that returned something else. Promises are refused too, because records are
 * processed synchronously; a rejection of one must not end the process.
 * @param expected – the rest of "must be a function that returns"
 */
export function invalidResult(option: string, expected: string, result: unknown): TypeError {
  if (types.isPromise(result)) result.catch(() => {})
  return invalidType(option, `a function that returns ${expected}`, result)
}
