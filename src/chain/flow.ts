/** Runs the streams of a chain to their end, with Node's `pipeline()` for each stretch. */
import type { Writable } from 'node:stream'
import { finished, pipeline } from 'node:stream/promises'
import { isReadableNodeStream } from 'stream-chain/defs.js'
import { errorCode } from '../util/error-code.js'
import { toError } from '../util/error-shape.js'
import { isNodeStream } from './discard.js'
import type { ChainItems } from './items.js'
import { createStretches } from './stages.js'

/**
 * Resolves when the sink has finished. A function that stops the chain closes what is before it; the rest ends
 * normally.
 * @throws the first failure, after which all streams are destroyed
 */
export async function flow(
  source: NodeJS.ReadableStream,
  items: ChainItems,
  signal: AbortSignal,
): Promise<void> {
  let stoppedAt = -1
  const stretches = createStretches(source, items, group => {
    stoppedAt = stretches.findIndex(({ to }) => to === group)
    for (const { from, through } of stretches.slice(0, stoppedAt + 1)) {
      for (const stream of [from, ...through]) stream.destroy?.()
    }
  })
  const failures: unknown[] = []
  const fail = (error: unknown): void => {
    failures.push(error)
    for (const { from, through, to } of stretches) {
      for (const stream of [from, ...through, to]) stream.destroy?.(toError(error))
    }
  }
  const runs = stretches.map(async ({ from, through, to }, i) => {
    const isLast = to === items.sink
    await pipeline([from, ...through, to], { signal, end: isLast }).catch((error: unknown) => {
      if (i > stoppedAt || !isPrematureClose(error)) fail(error)
    })
    if (!isLast) to.end() // without effect if it was destroyed
  })
  await Promise.all([...runs, finishInnerSink(items.sink).catch(fail)])
  // A stream that only closed early may be a consequence of another failure.
  if (failures.length > 0) throw failures.find(error => !isPrematureClose(error)) ?? failures[0]
}

/** True for the error of a stream that was closed before its end, without an error of its own. */
export function isPrematureClose(error: unknown): boolean {
  return errorCode(error) === 'ERR_STREAM_PREMATURE_CLOSE'
}

/** A chain of `stream-chain` as the sink finishes as soon as it has accepted everything, before its own sink does. */
async function finishInnerSink(sink: Writable): Promise<void> {
  if (!('streams' in sink && 'output' in sink)) return
  const { output } = sink
  if (isNodeStream(output) && !isReadableNodeStream(output)) await finished(output)
}
