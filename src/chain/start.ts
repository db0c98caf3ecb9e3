/** Life of a chain: its items are checked, its source is opened, and everything is closed if it fails. */
import { finished } from 'node:stream/promises'
import { setImmediate } from 'node:timers/promises'
import { checkObject, checkProperties, invalidState, invalidType } from '../errors.js'
import { openSource } from '../upload/model/source.js'
import { isAbortSignal, toLocalSignal } from '../util/abort-signals.js'
import { discard, isNodeStream } from './discard.js'
import { flow, isPrematureClose } from './flow.js'
import { checkItems, discardItems, takeItems, type ChainItems } from './items.js'

/** Options of `runChain`. */
export interface ChainOptions {
  /** Aborts the chain, which rejects with an `AbortError` whose `cause` is the signal's reason. */
  readonly signal?: AbortSignal
}

/** Checks, opens and runs a chain. */
export async function start(
  items: readonly unknown[],
  options: ChainOptions = {},
): Promise<unknown> {
  const end = new AbortController()
  let signal: AbortSignal
  try {
    signal = AbortSignal.any([end.signal, ...checkSignals(options)])
    checkItems(items)
    if (signal.aborted) throw abortError(signal)
  } catch (error) {
    await discardItems(items, error)
    throw error
  }
  const taken = takeItems(items)
  const sink = items.at(-1)
  const result = resultOf(sink)
  result.catch(() => {})
  try {
    await flow(await open(taken, signal), taken, signal)
  } catch (error) {
    await Promise.all([...taken.steps, taken.sink].map(stream => discard(stream, error)))
    throw isPrematureClose(error) ? await reasonOf(sink, error) : error
  } finally {
    end.abort()
  }
  return resultOf(sink)
}

function checkSignals(options: ChainOptions): AbortSignal[] {
  checkObject('options', options)
  checkProperties('options', options, { signal: true })
  const { signal } = options
  if (signal === undefined) return []
  if (!isAbortSignal(signal)) throw invalidType('signal', 'an AbortSignal', signal)
  return [toLocalSignal(signal)]
}

/** The error of Node's own functions, which have no public class for it. */
function abortError({ reason }: AbortSignal): Error {
  const error = new Error('The operation was aborted', { cause: reason })
  return Object.assign(error, { name: 'AbortError', code: 'ABORT_ERR' })
}

/** Opens the source. A step or a sink that fails meanwhile, or an aborted signal, does not wait for it. */
async function open(
  { source, steps, sink }: ChainItems,
  signal: AbortSignal,
): Promise<NodeJS.ReadableStream> {
  const opened = new AbortController()
  const watching = { signal: AbortSignal.any([signal, opened.signal]) }
  const streams = [...steps.filter(step => isNodeStream(step)), sink]
  const endings = streams.map(async stream => {
    await finished(stream, watching)
    throw invalidState('A stream of the chain was ended by its owner')
  })
  try {
    return await Promise.race([openSource(source, { offset: 0, signal }), ...endings])
  } finally {
    opened.abort()
  }
}

/** The promise `result` of a sink that has one. */
async function resultOf(sink: unknown): Promise<unknown> {
  return typeof sink === 'object' && sink !== null && 'result' in sink ? sink.result : undefined
}

/** A sink that was destroyed may know more about it than its chain, which only saw it close. */
async function reasonOf(sink: unknown, error: unknown): Promise<unknown> {
  return Promise.race([resultOf(sink), setImmediate()]).then(
    () => error,
    (reason: unknown) => reason,
  )
}
