/**
 * Errors of steps without a reason, as of `reject()`. `stream-chain` takes a falsy reason for success, so that the chain
 * would go on without the record.
 */
import { inspect } from 'node:util'
import type { StepFunction } from './items.js'

/** Returns the step with an `Error` in place of any falsy value that it throws. It keeps the marks of `stream-chain`. */
export function withErrors(step: StepFunction): StepFunction {
  const guarded = (record: unknown): unknown => {
    try {
      return guardResult(step(record))
    } catch (error) {
      return rethrow(error)
    }
  }
  return Object.assign(guarded, step)
}

/** Guards what a promise or a generator throws later. */
function guardResult(result: unknown): unknown {
  if (typeof result !== 'object' || result === null) return result
  if ('then' in result && typeof result.then === 'function') {
    return Promise.resolve(result).then(guardResult, rethrow)
  }
  return isGenerator(result) ? guardGenerator(result) : result
}

/** What `stream-chain` calls of a generator. */
type Stepper = Pick<Generator, 'next'> & Partial<Pick<Generator, 'return'>>

function isGenerator(result: object): result is Stepper {
  return 'next' in result && typeof result.next === 'function'
}

function guardGenerator(generator: Stepper): unknown {
  return {
    next: withErrors(() => generator.next()),
    return: withErrors(value => generator.return?.(value)),
  }
}

function rethrow(error: unknown): never {
  if (error) throw error
  throw new Error(`A step of the chain failed with ${inspect(error)}`)
}
