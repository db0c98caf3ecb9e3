/** Checks the items of a chain before any work, and takes their streams, each of which belongs to one chain only. */
import { Duplex, Readable, Writable } from 'node:stream'
import {
  isDuplexNodeStream,
  isDuplexWebStream,
  isReadableWebStream,
  isWritableNodeStream,
  isWritableWebStream,
} from 'stream-chain/defs.js'
import { invalidState, invalidType, invalidValue } from '../errors.js'
import { isReadableSource, type SourceOptions } from '../upload/model/source.js'
import { discard, ignoreErrors, isIterator, isNodeStream } from './discard.js'

/** A function of a chain. */
export type StepFunction = (record: unknown) => unknown

/** The items of a chain, web streams converted. */
export interface ChainItems {
  readonly source: (options: SourceOptions) => unknown
  readonly steps: readonly (StepFunction | Duplex)[]
  readonly sink: Writable
}

/** Streams and iterators that chains have taken. */
const taken = new WeakSet<object>()

/** @throws TypeError, or the error of a stream that has failed, if the items cannot become a chain */
export function checkItems(items: unknown): asserts items is readonly unknown[] {
  if (!Array.isArray(items) || items.length < 2) {
    throw invalidType('items', 'an array of a source, any number of steps, and a sink', items)
  }
  const source: unknown = items[0]
  if (typeof source !== 'function' && !isReadableSource(source)) {
    const expected = 'a stream, an iterable object, or a function that returns one'
    throw invalidType('items[0]', expected, source)
  }
  const seen = new Set([source])
  for (const [name, step] of namedSteps(items)) {
    if (typeof step === 'function') continue
    if (!isDuplexNodeStream(step) && !isDuplexWebStream(step)) {
      throw invalidType(name, 'a function, a duplex stream, or an array of them', step)
    }
    checkNew(name, step, seen)
    if (isNodeStream(step) && isUnreadable(step)) throw usedBefore(name)
  }
  const sinkName = `items[${items.length - 1}]`
  const sink: unknown = items.at(-1)
  if (!isWritableNodeStream(sink) && !isWritableWebStream(sink)) {
    throw invalidType(sinkName, 'a writable stream', sink)
  }
  checkNew(sinkName, sink, seen)
}

/** The steps, out of nested arrays, each with the name of its item. What is no step is left out. */
function namedSteps(items: readonly unknown[]): [name: string, step: unknown][] {
  return items
    .slice(1, -1)
    .flatMap((item, i) => stepsIn(item).map((step): [string, unknown] => [`items[${i + 1}]`, step]))
}

function stepsIn(item: unknown): unknown[] {
  return [item].flat(Infinity).filter(Boolean)
}

/** @throws TypeError, or the stream's own error, if a step or a sink cannot be written to from its start */
function checkNew(name: string, stream: unknown, seen: Set<unknown>): void {
  if (typeof stream !== 'object' || stream === null) return
  if (seen.has(stream)) throw invalidValue(name, 'must not be in the chain twice', stream)
  seen.add(stream)
  if ('errored' in stream && stream.errored) throw stream.errored
  const sides = isDuplexWebStream(stream) ? [stream.readable, stream.writable] : [stream]
  const isLocked = sides.some(side => 'locked' in side && side.locked === true)
  const isClosed = 'writable' in stream && stream.writable === false
  if (taken.has(stream) || isLocked || isClosed) throw usedBefore(name)
}

function isUnreadable(step: object): boolean {
  const isClosed = 'readable' in step && step.readable === false
  return isClosed || Readable.isDisturbed(step as Readable) // takes any object
}

function usedBefore(name: string): TypeError {
  return invalidState(`${name} is a stream that was used before or that is closed`)
}

/** Takes the streams of checked items, so that no other chain can use them. */
export function takeItems(items: readonly unknown[]): ChainItems {
  for (const item of oneShots(items)) {
    taken.add(item)
    if (isNodeStream(item)) ignoreErrors(item)
  }
  const steps = items.slice(1, -1).flatMap(stepsIn).map(toNodeStep)
  return { source: toFunction(items[0]), steps, sink: toNodeSink(items.at(-1)) }
}

/** Closes the items of a chain that does not start, except those of other chains. */
export async function discardItems(items: unknown, error: unknown): Promise<void> {
  if (!Array.isArray(items)) return
  const free = oneShots(items).filter(item => !taken.has(item))
  await Promise.all(free.map(item => discard(item, error)))
}

/** Items that can be used once. Arrays of records, for example, can be read again. */
function oneShots(items: readonly unknown[]): object[] {
  return [items[0], ...items.slice(1).flatMap(stepsIn)].filter(
    item =>
      isNodeStream(item) ||
      isReadableWebStream(item) ||
      isWritableWebStream(item) ||
      isDuplexWebStream(item) ||
      isIterator(item),
  )
}

function toFunction(source: unknown): ChainItems['source'] {
  return typeof source === 'function' ? options => source(options) : () => source
}

// `never`, since web streams have one type in Node's declarations and another one in those of browsers.

function toNodeStep(step: unknown): StepFunction | Duplex {
  if (!isDuplexWebStream(step)) return step as StepFunction | Duplex // was checked
  const duplex = Duplex.fromWeb(step, { objectMode: true })
  /* oxlint-disable no-underscore-dangle -- Node has no other hook */
  const destroy = duplex._destroy.bind(duplex)
  duplex._destroy = (error, callback) => {
    destroy(error, () => {}) // waits for the transform of the current record, which may never settle
    callback(error)
  }
  /* oxlint-enable no-underscore-dangle */
  return duplex
}

function toNodeSink(sink: unknown): Writable {
  if (isWritableWebStream(sink)) return Writable.fromWeb(sink as never, { objectMode: true })
  return sink as Writable // was checked
}
