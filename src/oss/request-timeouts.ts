/**
 * Request timeouts: connect, idle, body and response deadline. The first to expire fails the request. All are
 * derived from `idleTimeout` and the size of the body, and none counts the time a body waits for the rate limit.
 */
import type { ClientRequest } from 'node:http'
import type { CallOptions } from './bucket.js'
import type { PacingDelay } from './rate-limiter.js'

const CONNECT_TIMEOUT_MS = 10_000
const IDLE_TIMEOUT_MS = 60_000

/**
 * Minimum rate in bytes per second: 32 kbit/s, the slowest rate of throttled mobile tariffs. It applies to the
 * whole connection to OSS, which `parallel` requests share. Uploads over slow networks must succeed; this limit
 * is for a server that only reads a byte now and then.
 */
const MIN_BYTES_PER_SECOND = 4 * 1024

/** State shared by all requests of a transport. */
export interface ConnectionLoad {
  /** Number of requests with a body that have no reply yet. */
  requestsSending: number
}

export interface TimedRequest {
  readonly request: ClientRequest
  readonly call: CallOptions
  readonly load: ConnectionLoad
  /** Size of the body in bytes; `undefined` if unknown. */
  readonly size: number | undefined
  /** Time that the body waited for our rate limit. */
  readonly pacing: PacingDelay | undefined
  /** The agent connects in several steps and provides the socket only after the last one. */
  readonly isTunnel: boolean
  readonly fail: (error: Error) => void
}

/** Starts the timeouts of one request. Returns a function that stops them. */
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

  let peakLoad = 0 // most requests that shared the network, including this one
  const checkBodyDeadline = (): void => {
    if (size === undefined) return
    peakLoad = Math.max(peakLoad, load.requestsSending)
    const allowed = idle + (size * 1000 * peakLoad) / MIN_BYTES_PER_SECOND
    const left = allowed - elapsed()
    if (left > 0) return startTimer('whole', left, checkBodyDeadline)
    fail(
      timeoutError(
        'DeadlineExceeded',
        `The body of ${size} bytes was not sent within ${Math.ceil(allowed)} ms`,
      ),
    )
  }
  if (isTunnel) startConnectTimer()
  // Start only now: with `maxSockets` of the caller's agent, a request may wait for a free socket first.
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
    else fail(timeoutError('IdleTimeout', `No data was sent or received for ${idle} ms`))
  })
  request.on('finish', () => {
    if (!isActive) return
    // The kernel may still buffer the last bytes, and sending them may take as long as all others did.
    const extra = Math.max(0, elapsed())
    request.setTimeout(idle + extra)
    const limit = 2 * idle + extra
    startTimer('whole', limit, () => {
      fail(timeoutError('DeadlineExceeded', `No complete reply within ${Math.ceil(limit)} ms`))
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
