/** Connects the items of a chain: adjacent functions become one stream, which costs least. */
import type { Duplex, Writable } from 'node:stream'
import { asStream, gen } from 'stream-chain'
import { getFunctionList } from 'stream-chain/defs.js'
import { invalidType } from '../errors.js'
import type { NodeStream } from './discard.js'
import type { ChainItems, StepFunction } from './items.js'
import { withErrors } from './step-errors.js'

/**
 * Streams to pipe into each other. A chain is split at each group of functions, since a function can stop what is
 * before it while the rest ends normally.
 */
export interface Stretch {
  /** The source or a group. */
  readonly from: Readables
  readonly through: readonly Duplex[]
  /** The next group or the sink. */
  readonly to: Writable
}

type Readables = NodeJS.ReadableStream & NodeStream

/** @param onStop – called when a function ends the chain, before any more is read */
export function createStretches(
  source: Readables,
  { steps, sink }: ChainItems,
  onStop: (group: Duplex) => void,
): Stretch[] {
  const stretches: Stretch[] = []
  let from = source
  let through: Duplex[] = []
  let functions: StepFunction[] = []
  const append = (stream: Writable | Duplex): void => {
    const previous = through.at(-1) ?? from
    const takesBytes = isWritableOfBytes(stream)
    if (functions.length > 0 || (takesBytes && previous.readableObjectMode)) {
      const group = createGroup(functions, takesBytes, onStop)
      stretches.push({ from, through, to: group })
      from = group
      through = []
      functions = []
    }
    if (stream === sink) stretches.push({ from, through, to: stream })
    else through.push(stream as Duplex) // only the sink may be another stream
  }
  for (const step of steps) {
    if (typeof step === 'function') functions.push(step)
    else append(step)
  }
  append(sink)
  return stretches
}

function createGroup(
  functions: readonly StepFunction[],
  emitsBytes: boolean,
  onStop: (group: Duplex) => void,
): Duplex {
  // Without nested lists. The type of `gen()` does not say that it is one.
  const steps: readonly StepFunction[] = getFunctionList(gen(...functions) as never)
  const group: Duplex = asStream(gen(...steps.map(withErrors)))
  const push = group.push.bind(group)
  // A stopped group still accepts records, and drops them. An endless source would never return to the event loop.
  group.push = chunk => {
    if (chunk === null && !group.writableEnded) onStop(group)
    // Without this check, `write()` of the next stream would throw into the event loop.
    if (chunk !== null && emitsBytes) checkBytes(chunk)
    return push(chunk)
  }
  return group
}

/** False for streams of objects, and for old streams, of which that is unknown. */
function isWritableOfBytes({
  writableObjectMode,
}: {
  readonly writableObjectMode?: boolean
}): boolean {
  return writableObjectMode === false
}

function checkBytes(chunk: unknown): void {
  if (typeof chunk === 'string' || ArrayBuffer.isView(chunk)) return
  throw invalidType(
    'record',
    'a string, Buffer, TypedArray or DataView before a stream of bytes',
    chunk,
  )
}
