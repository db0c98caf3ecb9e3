/** Types of records on their way through a chain. They exist only in the type system. */
import type { ReadableStream, WritableStream } from 'node:stream/web'
import type { UnpackType } from 'stream-chain/defs.js'
import type { SourceOptions } from '../upload/model/source.js'

/** Anything that records can be read from: Node streams, web streams, async iterables and iterables. */
export type Records<T> = AsyncIterable<T> | (Iterable<T> & object)

/**
 * First item of a chain. A function is called once, and only if its records are needed; `signal` is aborted when they
 * no longer are, and `offset` is always 0, so that a source of `upload()` can be used.
 */
export type RecordSource<T> =
  Records<T> | ((options: SourceOptions) => Records<T> | Promise<Records<T>>)

/**
 * A step from records of type `In` to records of type `Output<Result>`: a function, a stream, or an array of functions.
 * A value that is `null`, `undefined` or `false` is no step.
 * @typeParam Result – returned by the function or emitted by the stream; `never`, which fits every next item, for a
 * stream that does not know its type
 * @typeParam Accepted – accepted by the stream
 */
export type Step<In, Result, Accepted> =
  | StepFunction<In, Result>
  | (Typed<Accepted, Result> & Fits<In, Accepted>)
  | (NodeJS.ReadWriteStream & Untyped)
  | (WebPair<Accepted, Result> & Fits<In, Accepted>)
  | readonly [StepFunction<In, Result>]
  | readonly [
      StepFunction<In, unknown>,
      ...StepFunction<never, unknown>[],
      StepFunction<never, Result>,
    ]
  | null
  | undefined
  | false

type StepFunction<In, Result> = (record: In) => Result

/** Streams that know the types of their records, such as `tap()` and those of `stream-chain`. */
interface Typed<Accepted, Emitted> {
  __streamTypeW(): Accepted
  __streamTypeR(): Emitted
}

interface Untyped {
  __streamTypeW?: never
}

interface WebPair<Accepted, Emitted> {
  readonly writable: WritableStream<Accepted>
  readonly readable: ReadableStream<Emitted>
}

/** Adds properties that no stream has unless records of type `Given` are accepted. Their names explain the error. */
type Fits<Given, Accepted> = [Given] extends [Accepted]
  ? unknown
  : { readonly recordsGiven: Given; readonly recordsAccepted: Accepted }

/** Records that come out of a step with this result. `null` and `undefined` are none. */
export type Output<Result> = Exclude<UnpackType<Returned<Result>>, null | undefined | void>

/** Distributes over unions, so that a function may return a record or a promise of one. */
type Returned<Result> =
  Result extends AsyncGenerator<infer T, unknown, unknown>
    ? T
    : Result extends Generator<infer T, unknown, unknown>
      ? T
      : Result extends Promise<infer T>
        ? Returned<T>
        : Result

/** Last item of a chain: a Node or web stream. */
export type Sink<In> = NodeJS.WritableStream | WritableStream<In>

/** The sink itself, unless it knows its type of records and that is another one. */
export type Accepting<In, S> = S &
  (S extends { __streamTypeW(): infer Accepted } ? Fits<In, Accepted> : unknown)

/** Type of the promise `result` of a sink, such as `UploadResult` or `Manifest`; `undefined` without one. */
export type ResultOf<S> = S extends { readonly result: infer R } ? Awaited<R> : undefined
