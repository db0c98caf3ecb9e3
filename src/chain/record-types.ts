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
  | (Accepts<Accepted> & Emits<Result> & Fits<In, Accepted>)
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

/** A step that is a function. */
export type StepFunction<In, Result> = (record: In) => Result

/** A stream that knows the type of the records it accepts, such as `rotate()`, `tap()` and those of `stream-chain`. */
export interface Accepts<T> {
  /** Exists only in the type system. */
  __streamTypeW(): T
}

/** A stream that knows the type of the records it emits. */
export interface Emits<T> {
  /** Exists only in the type system. */
  __streamTypeR(): T
}

/** A stream that does not know the type of its records, such as `createGzip()`. */
export interface Untyped {
  /** Exists only in the type system. */
  __streamTypeW?: never
}

/** A web transform stream. */
export interface WebPair<Accepted, Emitted> {
  /** Accepts records. */
  readonly writable: WritableStream<Accepted>
  /** Emits records. */
  readonly readable: ReadableStream<Emitted>
}

/** Adds properties that no stream has unless records of type `Given` are accepted. Their names explain the error. */
export type Fits<Given, Accepted> = [Given] extends [Accepted] ? unknown : Mismatch<Given, Accepted>

/** Why a stream cannot follow the item before it, for the message of the compiler. */
export interface Mismatch<Given, Accepted> {
  /** Records of the item before. */
  readonly recordsGiven: Given
  /** Records that the stream accepts. */
  readonly recordsAccepted: Accepted
}

/** Records that come out of a step with this result. `null` and `undefined` are none. */
export type Output<Result> = Exclude<UnpackType<Returned<Result>>, null | undefined | void>

/**
 * What a promise resolves with, or a generator yields. Distributes over unions, so that a function may return a record
 * or a promise of one.
 */
export type Returned<Result> =
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
  (S extends Accepts<infer Accepted> ? Fits<In, Accepted> : unknown)

/** Type of the promise `result` of a sink, such as `UploadResult` or `Manifest`; `undefined` without one. */
export type ResultOf<S> = S extends HasResult<infer R> ? Awaited<R> : undefined

/** A sink that says how it ended. */
export interface HasResult<R> {
  /** A promise of the result. */
  readonly result: R
}
