/**
 * How long a request may take. Four limits, of which the first to be reached ends it: the way to the
 * server, silence, the whole body, the whole reply. All follow from `idleTimeout` and the body's size,
 * and none of them counts the time a body waited for the rate limit.
 */
import type { ClientRequest } from 'node:http'
import type { CallOptions } from './bucket.js'
import type { PacingDelay } from './rate-limiter.js'

const CONNECT_TIMEOUT_MS = 10_000
const IDLE_TIMEOUT_MS = 60_000

/**
 * Bytes per second below which a line is given up: 32 kbit/s, the slowest that throttled tariffs
 * leave. It is the whole line's: `parallel` requests share it. A slow line must arrive in the end;
 * this is for a server that takes a byte now and then.
 */
const MIN_BYTES_PER_SECOND = 4 * 1024

/** What all requests of a transport have in common. */
export interface ConnectionLoad {
  /** Requests that have a body and no reply yet. */
  requestsSending: number
}

export interface TimedRequest {
  readonly request: ClientRequest
  readonly call: CallOptions
  readonly load: ConnectionLoad
  /** Bytes of the body; `undefined` when nobody knows. */
  readonly size: number | undefined
  /** How long the body was held back by us. */
  readonly pacing: PacingDelay | undefined
  /** An agent makes the connection by steps of its own, and gives us the socket at their end. */
  readonly isTunnel: boolean
  readonly fail: (error: Error) => void
}

/** Watches over one request; returns what ends the watch. */
export function startTimeouts(timed: TimedRequest): () => void {
  const { request, call, load, size, pacing, isTunnel, fail } = timed
  const idle = call.idleTimeout ?? IDLE_TIMEOUT_MS
  const connectLimit = Math.min(CONNECT_TIMEOUT_MS, idle)
  const timers = new Map<'connect' | 'whole', NodeJS.Timeout>()
  const clearTimer = (name: 'connect' | 'whole'): void => clearTimeout(timers.get(name))
  const startTimer = (name: 'connect' | 'whole', ms: number, then: () => void): void => {
    clearTimer(name)
    timers.set(name, setTimeout(then, Math.min(ms, 2 ** 31 - 1)))
  }
  const startConnectTimer = (): void =>
    startTimer('connect', connectLimit, () => {
      fail(timeoutError('ConnectTimeout', `No connection within ${connectLimit} ms`))
    })
  let isActive = true
  let startedAt = performance.now()
  const elapsed = (): number => performance.now() - startedAt - (pacing?.total ?? 0)

  let peakLoad = 0 // requests that shared the line with this one
  const checkBodyDeadline = (): void => {
    if (size === undefined) return
    peakLoad = Math.max(peakLoad, load.requestsSending)
    const allowed = idle + (size * 1000 * peakLoad) / MIN_BYTES_PER_SECOND
    const left = allowed - elapsed()
    if (left > 0) return startTimer('whole', left, checkBodyDeadline)
    fail(
      timeoutError(
        'DeadlineExceeded',
        `${size} bytes were not taken within ${Math.ceil(allowed)} ms`,
      ),
    )
  }
  if (isTunnel) startConnectTimer()
  // Not before: with `maxSockets` of the caller's agent, a request first waits for its turn.
  request.on('socket', socket => {
    if (!isActive) return
    clearTimer('connect')
    startedAt = performance.now()
    if (!request.writableFinished) checkBodyDeadline()
    if (!socket.connecting) return
    startConnectTimer()
    socket.once('connect', () => clearTimer('connect'))
  })
  request.setTimeout(idle)
  request.on('timeout', () => {
    if (!isActive) return
    if (pacing?.waiting === true) request.setTimeout(idle)
    else fail(timeoutError('IdleTimeout', `No byte moved for ${idle} ms`))
  })
  request.on('finish', () => {
    if (!isActive) return
    // The system may still hold the last bytes, at worst for as long as it took the others.
    const extra = Math.max(0, elapsed())
    request.setTimeout(idle + extra)
    const limit = 2 * idle + extra
    startTimer('whole', limit, () => {
      fail(timeoutError('DeadlineExceeded', `No whole reply within ${Math.ceil(limit)} ms`))
    })
  })
  return () => {
    if (!isActive) return
    isActive = false
    clearTimer('connect')
    clearTimer('whole')
    request.setTimeout(0)
  }
}

function timeoutError(name: string, message: string): Error {
  return Object.assign(new Error(message), { name })
}
