/**
 * Runs a source, steps of `stream-chain` and a sink as one promise.
 * @module oss-spool/chain
 */
export type {
  Accepting,
  Accepts,
  Emits,
  Fits,
  HasResult,
  Mismatch,
  Output,
  Records,
  RecordSource,
  ResultOf,
  Returned,
  Sink,
  Step,
  StepFunction,
  Untyped,
  WebPair,
} from './record-types.js'
export { runChain } from './run-chain.js'
export type { ChainOptions } from './start.js'
export { final, flushable, gen, many, none, stop } from './steps.js'
