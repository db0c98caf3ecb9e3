/** `runChain`, with a signature for each number of steps, so that a step knows the records of the one before. */
import type { Accepting, Output, RecordSource, ResultOf, Sink, Step } from './record-types.js'
import { start, type ChainOptions } from './start.js'

/**
 * Reads all records from a source, passes them through steps, and writes them to a sink. Resolves when the sink has
 * finished: for a sink of this library, when OSS has stored everything. If anything fails or the signal is aborted,
 * the source, the streams and the sink are destroyed, and the promise rejects when they are closed. Nothing is
 * published then, except bytes that a sink has committed or sealed, as documented there.
 *
 * - The source is a Node stream, a web stream, an async iterable, an iterable, or a function that returns one.
 * - Steps are functions as in `stream-chain`, which may return `none`, `many([...])`, `stop`, a promise or a generator;
 *   arrays of such functions; and Node duplex streams or web transform streams. A step that stops the chain closes the
 *   source, and the sink ends normally with the records so far.
 * - The sink is a Node or web stream. That of a duplex stream which is read, such as a socket, is the caller's to read.
 *
 * The types of records are checked from each item to the next, for up to eight steps; longer chains can nest arrays of
 * functions or use `gen`.
 * @param items – the source, any number of steps, and the sink; each stream and iterator can be used once
 * @returns the value of the sink's promise `result`, such as an `UploadResult` or a `Manifest`, else `undefined`
 * @throws TypeError, by rejecting, for wrong items, before any work; otherwise the first failure: the error of the
 * source or step as it is, the sink's `SpoolError`, `ERR_SPOOL_SOURCE_FAILED` for a source that was read before, or an
 * `AbortError`
 */
export function runChain<T, S extends Sink<T>>(
  items: readonly [RecordSource<T>, Accepting<T, S>],
  options?: ChainOptions,
): Promise<ResultOf<S>>

/** With 1 step. */
export function runChain<T, S extends Sink<Output<R1>>, R1 = never, A1 = never>(
  items: readonly [RecordSource<T>, Step<T, R1, A1>, Accepting<Output<R1>, S>],
  options?: ChainOptions,
): Promise<ResultOf<S>>

/** With 2 steps. */
export function runChain<
  T,
  S extends Sink<Output<R2>>,
  R1 = never,
  A1 = never,
  R2 = never,
  A2 = never,
>(
  items: readonly [
    RecordSource<T>,
    Step<T, R1, A1>,
    Step<Output<R1>, R2, A2>,
    Accepting<Output<R2>, S>,
  ],
  options?: ChainOptions,
): Promise<ResultOf<S>>

/** With 3 steps. */
export function runChain<
  T,
  S extends Sink<Output<R3>>,
  R1 = never,
  A1 = never,
  R2 = never,
  A2 = never,
  R3 = never,
  A3 = never,
>(
  items: readonly [
    RecordSource<T>,
    Step<T, R1, A1>,
    Step<Output<R1>, R2, A2>,
    Step<Output<R2>, R3, A3>,
    Accepting<Output<R3>, S>,
  ],
  options?: ChainOptions,
): Promise<ResultOf<S>>

/** With 4 steps. */
export function runChain<
  T,
  S extends Sink<Output<R4>>,
  R1 = never,
  A1 = never,
  R2 = never,
  A2 = never,
  R3 = never,
  A3 = never,
  R4 = never,
  A4 = never,
>(
  items: readonly [
    RecordSource<T>,
    Step<T, R1, A1>,
    Step<Output<R1>, R2, A2>,
    Step<Output<R2>, R3, A3>,
    Step<Output<R3>, R4, A4>,
    Accepting<Output<R4>, S>,
  ],
  options?: ChainOptions,
): Promise<ResultOf<S>>

/** With 5 steps. */
export function runChain<
  T,
  S extends Sink<Output<R5>>,
  R1 = never,
  A1 = never,
  R2 = never,
  A2 = never,
  R3 = never,
  A3 = never,
  R4 = never,
  A4 = never,
  R5 = never,
  A5 = never,
>(
  items: readonly [
    RecordSource<T>,
    Step<T, R1, A1>,
    Step<Output<R1>, R2, A2>,
    Step<Output<R2>, R3, A3>,
    Step<Output<R3>, R4, A4>,
    Step<Output<R4>, R5, A5>,
    Accepting<Output<R5>, S>,
  ],
  options?: ChainOptions,
): Promise<ResultOf<S>>

/** With 6 steps. */
export function runChain<
  T,
  S extends Sink<Output<R6>>,
  R1 = never,
  A1 = never,
  R2 = never,
  A2 = never,
  R3 = never,
  A3 = never,
  R4 = never,
  A4 = never,
  R5 = never,
  A5 = never,
  R6 = never,
  A6 = never,
>(
  items: readonly [
    RecordSource<T>,
    Step<T, R1, A1>,
    Step<Output<R1>, R2, A2>,
    Step<Output<R2>, R3, A3>,
    Step<Output<R3>, R4, A4>,
    Step<Output<R4>, R5, A5>,
    Step<Output<R5>, R6, A6>,
    Accepting<Output<R6>, S>,
  ],
  options?: ChainOptions,
): Promise<ResultOf<S>>

/** With 7 steps. */
export function runChain<
  T,
  S extends Sink<Output<R7>>,
  R1 = never,
  A1 = never,
  R2 = never,
  A2 = never,
  R3 = never,
  A3 = never,
  R4 = never,
  A4 = never,
  R5 = never,
  A5 = never,
  R6 = never,
  A6 = never,
  R7 = never,
  A7 = never,
>(
  items: readonly [
    RecordSource<T>,
    Step<T, R1, A1>,
    Step<Output<R1>, R2, A2>,
    Step<Output<R2>, R3, A3>,
    Step<Output<R3>, R4, A4>,
    Step<Output<R4>, R5, A5>,
    Step<Output<R5>, R6, A6>,
    Step<Output<R6>, R7, A7>,
    Accepting<Output<R7>, S>,
  ],
  options?: ChainOptions,
): Promise<ResultOf<S>>

/** With 8 steps. */
export function runChain<
  T,
  S extends Sink<Output<R8>>,
  R1 = never,
  A1 = never,
  R2 = never,
  A2 = never,
  R3 = never,
  A3 = never,
  R4 = never,
  A4 = never,
  R5 = never,
  A5 = never,
  R6 = never,
  A6 = never,
  R7 = never,
  A7 = never,
  R8 = never,
  A8 = never,
>(
  items: readonly [
    RecordSource<T>,
    Step<T, R1, A1>,
    Step<Output<R1>, R2, A2>,
    Step<Output<R2>, R3, A3>,
    Step<Output<R3>, R4, A4>,
    Step<Output<R4>, R5, A5>,
    Step<Output<R5>, R6, A6>,
    Step<Output<R6>, R7, A7>,
    Step<Output<R7>, R8, A8>,
    Accepting<Output<R8>, S>,
  ],
  options?: ChainOptions,
): Promise<ResultOf<S>>

export function runChain(items: readonly unknown[], options?: ChainOptions): Promise<unknown> {
  return start(items, options)
}
