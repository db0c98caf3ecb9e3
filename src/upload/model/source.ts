/**
 * Sources of `upload()`: functions that are called only if the bytes are still needed and return anything that
 * Node can read from.
 */
import { types } from 'node:util'
import { Readable } from 'node:stream'
import type { ReadableStream } from 'node:stream/web'
import { invalidType } from '../../errors.js'

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
 * needed. Must return the same bytes each time.
 */
export type Source = (options: SourceOptions) => SourceStream | Promise<SourceStream>

/**
 * Calls the source. A stream that it returns after the upload was aborted is closed.
 * @throws TypeError if it returns something that is not readable, and Error if it returns a stream that was
 * already read, whose bytes would be missing
 */
export async function openSource(
  source: Source,
  options: SourceOptions,
): Promise<NodeJS.ReadableStream> {
  const result: unknown = await source(options)
  const readable = isNodeStream(result)
    ? result
    : isIterable(result)
      ? Readable.from(result)
      : undefined
  if (readable === undefined) {
    throw invalidType('source', 'a function that returns a stream or an iterable of bytes', result)
  }
  if (options.signal.aborted) discardStream(readable)
  else if ('readableEnded' in readable && readable.readableEnded) {
    throw new Error('The source returned a stream that was already read to its end')
  }
  return readable
}

/** Closes a stream that is no longer needed and ignores its errors. */
function discardStream(readable: NodeJS.ReadableStream): void {
  readable.on('error', () => {})
  if ('destroy' in readable && typeof readable.destroy === 'function') readable.destroy()
}

function isNodeStream(value: unknown): value is NodeJS.ReadableStream {
  return typeof value === 'object' && value !== null && 'pipe' in value && 'read' in value
}

/** True for iterables. A web `ReadableStream` is an async iterable, too. */
function isIterable(value: unknown): value is AsyncIterable<unknown> {
  if (typeof value !== 'object' || value === null || types.isUint8Array(value)) return false
  return Symbol.asyncIterator in value || Symbol.iterator in value
}
