/**
 * Errors of steps without a reason, as of `reject()`. `stream-chain` takes a falsy reason for success, so that the chain
 * would go on without the record.
 */
import { inspect, types } from 'node:util'
import { getManyValues, isMany, many } from 'stream-chain/defs.js'
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

/** Guards what a promise or a generator throws later, also one that is among several results. */
function guardResult(result: unknown): unknown {
  if (typeof result !== 'object' || result === null) return result
  if ('then' in result && typeof result.then === 'function') {
    return Promise.resolve(result).then(guardResult, rethrow)
  }
  if (isMany(result)) return many(getManyValues(result).map(guardOneOfMany))
  return isGenerator(result) ? guardGenerator(result) : result
}

/** Several results are awaited one after the other, so that a promise may reject before the chain awaits it. */
function guardOneOfMany(value: unknown): unknown {
  const guarded = guardResult(value)
  if (types.isPromise(guarded)) guarded.catch(() => {})
  return guarded
}

/** What `stream-chain` calls of a generator. */
type Stepper = Pick<Generator, 'next'> & Partial<Pick<Generator, 'return'>>

function isGenerator(result: object): result is Stepper {
  return 'next' in result && typeof result.next === 'function'
}

function guardGenerator(generator: Stepper): unknown {
  return {
    next: withErrors(() => guardYielded(generator.next())),
    return: withErrors(value => generator.return?.(value)),
  }
}

/** Guards the result that a generator yields, with or without a promise. */
function guardYielded(step: unknown): unknown {
  if (typeof step !== 'object' || step === null) return step
  if ('then' in step && typeof step.then === 'function') {
    return Promise.resolve(step).then(guardYielded)
  }
  return 'value' in step ? { ...step, value: guardResult(step.value) } : step
}

function rethrow(error: unknown): never {
  if (error) throw error
  throw new Error(`A step of the chain failed with ${inspect(error)}`)
}
