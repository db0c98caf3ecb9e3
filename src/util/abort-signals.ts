/** Abort signals of any realm and implementation, such as jsdom's in a test environment. */
import { setMaxListeners } from 'node:events'

/** The signal of this realm that follows each foreign one, so that a foreign one has a single listener. */
const followers = new WeakMap<AbortSignal, AbortSignal>()

export function isAbortSignal(value: unknown): value is AbortSignal {
  if (typeof value !== 'object' || value === null) return false
  if (!('aborted' in value && 'addEventListener' in value)) return false
  return typeof value.aborted === 'boolean' && typeof value.addEventListener === 'function'
}

/** Returns a signal that `AbortSignal.any` takes, which refuses signals of other implementations. */
export function toLocalSignal(signal: AbortSignal): AbortSignal {
  // oxlint-disable-next-line unicorn/no-instanceof-builtins -- `AbortSignal.any` makes the same distinction
  const isLocal: boolean = signal instanceof AbortSignal
  if (isLocal) return signal
  const known = followers.get(signal)
  if (known !== undefined) return known
  const controller = new AbortController()
  followers.set(signal, controller.signal)
  if (signal.aborted) controller.abort(signal.reason)
  else {
    const abort = (): void => controller.abort(signal.reason)
    signal.addEventListener('abort', abort, { once: true })
  }
  return controller.signal
}

/** Lets a signal have any number of listeners without a warning. Only Node's own signals warn. */
export function allowManyListeners(signal: AbortSignal): void {
  try {
    setMaxListeners(0, signal)
  } catch {
    // Node refuses signals of other implementations, which have no limit.
  }
}
