/** Closes the streams and iterators of a chain that failed, so that nothing stays open or locked. */
import { finished } from 'node:stream/promises'
import {
  isDuplexWebStream,
  isReadableNodeStream,
  isReadableWebStream,
  isWritableNodeStream,
  isWritableWebStream,
} from 'stream-chain/defs.js'
import { toError } from '../util/error-shape.js'

/** A Node stream. Old ones lack some of the properties. */
export type NodeStream = (NodeJS.ReadableStream | NodeJS.WritableStream) & {
  readonly destroyed?: boolean
  readonly readableObjectMode?: boolean
  destroy?(error?: Error): unknown
}

export function isNodeStream(value: unknown): value is NodeStream {
  return isReadableNodeStream(value) || isWritableNodeStream(value)
}

/** Handles all errors of a stream, late ones included, which would otherwise end the process. */
export function ignoreErrors(stream: NodeStream): void {
  stream.on('error', () => {})
}

/** Closes a source, a step or a sink. Resolves when a Node stream is closed, and never rejects. */
export async function discard(item: unknown, error: unknown): Promise<void> {
  if (isNodeStream(item)) return discardStream(item, error)
  const closing: unknown[] = []
  if (isReadableWebStream(item)) closing.push(item.cancel(error))
  if (isWritableWebStream(item)) closing.push(item.abort(error))
  if (isDuplexWebStream(item)) closing.push(item.writable.abort(error), item.readable.cancel(error))
  if (isIterator(item)) closing.push(endIterator(item))
  await Promise.allSettled(closing)
}

async function discardStream(stream: NodeStream, error: unknown): Promise<void> {
  ignoreErrors(stream)
  stream.destroy?.(toError(error))
  if (stream.destroyed === true) await finished(stream).catch(() => {})
}

/** True for generators and other iterators, which can be read once. */
export function isIterator(value: unknown): value is Iterator<unknown> | AsyncIterator<unknown> {
  return (
    typeof value === 'object' &&
    value !== null &&
    'next' in value &&
    typeof value.next === 'function'
  )
}

async function endIterator(iterator: Iterator<unknown> | AsyncIterator<unknown>): Promise<void> {
  await iterator.return?.()
}
