/** Streams that fail. */
import type { Writable } from 'node:stream'

/** Resolves when a stream is closed, with or without an error. A failed sink holds its lock until then. */
export async function closed(stream: Writable): Promise<void> {
  if (!stream.closed) await new Promise<void>(resolve => stream.once('close', resolve))
}
