/**
 * Where bytes come from in `upload()`: a function that is called only if they are still needed, and
 * returns anything Node can read from.
 */
import { Readable } from 'node:stream'
import type { ReadableStream } from 'node:stream/web'
import { invalidType } from '../errors.js'

/** What a source is asked for. */
export interface SourceOptions {
  /** Bytes of the stream to leave out: 0, or more with `replay: 'offset'`. */
  readonly offset: number
  /** Aborted when the bytes are not wanted any more. */
  readonly signal: AbortSignal
}

/** Anything that yields strings or bytes. */
export type Readables =
  | NodeJS.ReadableStream
  | AsyncIterable<string | Uint8Array>
  | Iterable<string | Uint8Array>
  | ReadableStream<string | Uint8Array>

/**
 * Gives the bytes of an upload. It is called only if they are still needed, once for each call of `upload()`,
 * and must give the same ones each time.
 */
export type Source = (options: SourceOptions) => Readables | Promise<Readables>

/**
 * Calls the source; what it gives too late is closed.
 * @throws TypeError when it gave nothing that can be read
 */
export async function toSource(
  source: Source,
  options: SourceOptions,
): Promise<NodeJS.ReadableStream> {
  const readable: unknown = await source(options)
  if (options.signal.aborted && readable instanceof Readable) readable.destroy()
  if (isNodeStream(readable)) return readable
  if (isIterable(readable)) return Readable.from(readable)
  throw invalidType('source', 'a function that returns a stream or an iterable of bytes', readable)
}

function isNodeStream(value: unknown): value is NodeJS.ReadableStream {
  return typeof value === 'object' && value !== null && 'pipe' in value && 'read' in value
}

/** A web ReadableStream is an async iterable, too. */
function isIterable(value: unknown): value is AsyncIterable<unknown> {
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return false
  return Symbol.asyncIterator in value || Symbol.iterator in value
}
