/**
 * Where bytes come from in `upload()`: a function that is called only if they are still needed, and
 * returns anything Node can read from.
 */
import { Readable } from 'node:stream'
import type { ReadableStream } from 'node:stream/web'
import { invalidType } from '../../errors.js'

/** What a source is asked for. */
export interface SourceOptions {
  /** Bytes of the stream to leave out: 0, or more with `replay: 'offset'`. */
  readonly offset: number
  /** Aborted when the bytes are not wanted any more. */
  readonly signal: AbortSignal
}

/** Anything that yields strings or bytes. */
export type SourceStream =
  | NodeJS.ReadableStream
  | AsyncIterable<string | ArrayBufferView>
  | Iterable<string | ArrayBufferView>
  | ReadableStream<string | ArrayBufferView>

/**
 * Gives the bytes of an upload. It is called only if they are still needed, once for each call of `upload()`,
 * and must give the same ones each time.
 */
export type Source = (options: SourceOptions) => SourceStream | Promise<SourceStream>

/**
 * Calls the source; what it gives too late is closed.
 * @throws TypeError when it gave nothing that can be read; Error when that was read already: its bytes
 * would be missing
 */
export async function openSource(
  source: Source,
  options: SourceOptions,
): Promise<NodeJS.ReadableStream> {
  const given: unknown = await source(options)
  const readable = isNodeStream(given)
    ? given
    : isIterable(given)
      ? Readable.from(given)
      : undefined
  if (readable === undefined) {
    throw invalidType('source', 'a function that returns a stream or an iterable of bytes', given)
  }
  if (options.signal.aborted) discardStream(readable)
  else if ('readableEnded' in readable && readable.readableEnded) {
    throw new Error('The source gave a stream that was read to its end before')
  }
  return readable
}

/** Nobody waits for it any more, nor for what it says at its end. */
function discardStream(readable: NodeJS.ReadableStream): void {
  readable.on('error', () => {})
  if ('destroy' in readable && typeof readable.destroy === 'function') readable.destroy()
}

function isNodeStream(value: unknown): value is NodeJS.ReadableStream {
  return typeof value === 'object' && value !== null && 'pipe' in value && 'read' in value
}

/** A web ReadableStream is an async iterable, too. */
function isIterable(value: unknown): value is AsyncIterable<unknown> {
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return false
  return Symbol.asyncIterator in value || Symbol.iterator in value
}
