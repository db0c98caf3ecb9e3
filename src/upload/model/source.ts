/**
 * Sources of `upload()`: functions that are called only if the bytes are still needed and return anything that
 * Node can read from.
 */
import { types } from 'node:util'
import { Readable } from 'node:stream'
import type { ReadableStream } from 'node:stream/web'
import { invalidType, SpoolError } from '../../errors.js'
import { toError } from '../../util/error-shape.js'

/** Argument of the source function of `upload()`. */
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

/** Streams and iterators that uploads and chains were given. */
const given = new WeakSet<object>()

/**
 * Calls the source. A stream that it returns after `options.signal` was aborted is closed. The result ends the
 * source when it is destroyed, without waiting for a pending read of an iterator or a web stream.
 * @throws TypeError if it returns something that is not readable, and SpoolError `ERR_SPOOL_SOURCE_FAILED` if it
 * returns a stream or iterator whose bytes would be missing
 */
export async function openSource(
  source: (options: SourceOptions) => unknown,
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
    throw invalidType('source', 'a function that returns a stream or an iterable', result)
  }
  const readable = Readable.from(isWebStream(result) ? takeReader(result) : takeIterator(result))
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
  return incompleteSource('a stream that was already read from or closed')
}

function incompleteSource(what: string): SpoolError {
  const hint = 'Return a new stream or iterator each time.'
  return new SpoolError('ERR_SPOOL_SOURCE_FAILED', `The source returned ${what}`, { hint })
}

/** Gets the reader of a web stream, of any realm, unless someone else reads or has read from it. */
function takeReader(stream: ReadableStream<unknown>): AsyncIterable<unknown> {
  if (stream.locked) throw incompleteSource('a locked stream')
  if (isDisturbed(stream)) throw incompleteSource('a stream that was already read from')
  const reader = stream.getReader()
  const cancel = async (error?: unknown): Promise<IteratorResult<unknown>> => {
    await reader.cancel(error) // settles a pending read
    return DONE
  }
  const iterator = { next: () => reader.read(), return: cancel, throw: cancel }
  return { [Symbol.asyncIterator]: () => iterator }
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
    const iterator = endAtOnce(markGiven(iterable[Symbol.asyncIterator]()))
    return { [Symbol.asyncIterator]: () => iterator }
  }
  const iterator = markGiven(iterable[Symbol.iterator]())
  const end = (): IteratorResult<unknown> => iterator.return?.() ?? DONE
  const endable = { next: () => iterator.next(), return: end, throw: end }
  return { [Symbol.iterator]: () => endable }
}

/**
 * A generator runs `return()` only after the pending `next()`, which may never settle. Without a pending one, the
 * caller waits until the generator has cleaned up.
 */
function endAtOnce(iterator: AsyncIterator<unknown>): AsyncIterator<unknown> {
  let isPending = false
  const settled = (): void => void (isPending = false)
  const end = async (): Promise<IteratorResult<unknown>> => {
    const ended = Promise.resolve(iterator.return?.())
    if (isPending) ended.catch(() => {})
    else await ended
    return DONE
  }
  return {
    next() {
      isPending = true
      const next = Promise.resolve(iterator.next()) // not every iterator returns a promise
      next.then(settled, settled)
      return next
    },
    return: end,
    throw: end,
  }
}

const DONE: IteratorReturnResult<undefined> = { done: true, value: undefined }

/** @throws SpoolError if an upload or a chain was given the same stream or iterator before */
function markGiven<T extends object>(streamOrIterator: T): T {
  if (given.has(streamOrIterator)) {
    throw incompleteSource('a stream or iterator that was given to another upload or chain')
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

/** True for web streams of any realm. */
function isWebStream(value: AnyIterable): value is ReadableStream<unknown> {
  return 'getReader' in value && 'locked' in value
}

/** True for everything that a source may be or return. */
export function isReadableSource(value: unknown): boolean {
  return isNodeStream(value) || isIterable(value)
}

type AnyIterable = AsyncIterable<unknown> | Iterable<unknown>

/** True for iterables. A web `ReadableStream` is an async iterable, too. */
function isIterable(value: unknown): value is AnyIterable {
  if (typeof value !== 'object' || value === null || types.isUint8Array(value)) return false
  return Symbol.asyncIterator in value || Symbol.iterator in value
}
