/**
 * Sources of `upload()`: functions that are called only if the bytes are still needed and return anything that
 * Node can read from.
 */
import { types } from 'node:util'
import { Readable } from 'node:stream'
import type { ReadableStream } from 'node:stream/web'
import { invalidType } from '../../errors.js'
import { toError } from '../../util/error-shape.js'

/** Argument of a source. */
export interface SourceOptions {
  /** Number of bytes to skip; 0 unless `replay: 'offset'` is set. */
  readonly offset: number
  /** Aborted when the bytes are no longer needed. */
  readonly signal: AbortSignal
}

/** Anything that yields strings or bytes. */
export type SourceStream =
  | NodeJS.ReadableStream
  | AsyncIterable<string | ArrayBufferView>
  | Iterable<string | ArrayBufferView>
  | ReadableStream<string | ArrayBufferView>

/**
 * Returns the bytes of an upload. Called at most once per call of `upload()`, and only if the bytes are still
 * needed. Must return the same bytes each time, and a new stream or iterator each time: one that was read from,
 * locked, destroyed or given to another upload is refused, since its bytes would be missing.
 */
export type Source = (options: SourceOptions) => SourceStream | Promise<SourceStream>

/** Streams and iterators that uploads were given. */
const given = new WeakSet<object>()

/**
 * Calls the source. A stream that it returns after the upload was aborted is closed.
 * @throws TypeError if it returns something that is not readable, and Error if it returns a stream or iterator
 * whose bytes would be missing
 */
export async function openSource(
  source: Source,
  options: SourceOptions,
): Promise<NodeJS.ReadableStream> {
  const result: unknown = await source(options)
  const { aborted } = options.signal
  if (isNodeStream(result)) {
    markGiven(result)
    const refusal = refusalOf(result)
    if (aborted || refusal !== undefined) discardStream(result)
    if (refusal !== undefined) throw refusal
    return result
  }
  if (!isIterable(result)) {
    throw invalidType('source', 'a function that returns a stream or an iterable of bytes', result)
  }
  if ('getReader' in result) checkWebStream(result)
  const readable = Readable.from(takeIterator(result))
  if (aborted) discardStream(readable)
  return readable
}

/**
 * Returns the error for a Node stream that failed, or that someone else read from or closed. Listeners that have read
 * nothing yet are harmless. Old streams lack some of the properties.
 */
function refusalOf(stream: {
  readonly errored?: unknown
  readonly readable?: boolean
  readonly destroyed?: boolean
}): Error | undefined {
  const { errored, readable = true, destroyed = false } = stream
  if (errored) return toError(errored)
  if (readable && !destroyed && !isDisturbed(stream)) return undefined
  return new Error('The source returned a stream that was already read from or closed')
}

/** Refuses a web stream, of any realm, that someone else reads or has read from. */
function checkWebStream(stream: AnyIterable): void {
  if ('locked' in stream && stream.locked === true) {
    throw new Error('The source returned a locked stream')
  }
  if (isDisturbed(stream))
    throw new Error('The source returned a stream that was already read from')
}

/** `Readable.isDisturbed` takes web streams too, though its type does not say so; anything else is not disturbed. */
function isDisturbed(stream: object): boolean {
  return Readable.isDisturbed(stream as Readable)
}

/**
 * Gets the iterator once and refuses one that was taken before, because a generator that was read to its end looks
 * like an empty one. An iterable that starts anew returns another iterator each time.
 */
function takeIterator(iterable: AnyIterable): AnyIterable {
  if (Symbol.asyncIterator in iterable) {
    const iterator = markGiven(iterable[Symbol.asyncIterator]())
    return { [Symbol.asyncIterator]: () => iterator }
  }
  const iterator = markGiven(iterable[Symbol.iterator]())
  return { [Symbol.iterator]: () => iterator }
}

/** @throws Error if an upload was given the same stream or iterator before */
function markGiven<T extends object>(streamOrIterator: T): T {
  if (given.has(streamOrIterator)) {
    throw new Error('The source returned a stream or iterator that was given to another upload')
  }
  given.add(streamOrIterator)
  return streamOrIterator
}

/** Closes a stream that is no longer needed and ignores its errors. */
function discardStream(readable: NodeJS.ReadableStream): void {
  readable.on('error', () => {})
  if ('destroy' in readable && typeof readable.destroy === 'function') readable.destroy()
}

function isNodeStream(value: unknown): value is NodeJS.ReadableStream {
  return typeof value === 'object' && value !== null && 'pipe' in value && 'read' in value
}

type AnyIterable = AsyncIterable<unknown> | Iterable<unknown>

/** True for iterables. A web `ReadableStream` is an async iterable, too. */
function isIterable(value: unknown): value is AnyIterable {
  if (typeof value !== 'object' || value === null || types.isUint8Array(value)) return false
  return Symbol.asyncIterator in value || Symbol.iterator in value
}
