/**
 * How long a request may take. Four limits, of which the first to be reached ends it: the way to the
 * server, silence, the whole body, the whole reply. All follow from `idleTimeout` and the body's size,
 * and none of them counts the time a body waited for the rate limit.
 */
import type { ClientRequest } from 'node:http'
import type { Call } from './port.js'
import type { Waits } from './rate.js'

const CONNECT_TIMEOUT = 10_000
const IDLE_TIMEOUT = 60_000

/**
 * Bytes per second below which a line is given up: 32 kbit/s, the slowest that throttled tariffs
 * leave. It is the whole line's: `parallel` requests share it. A slow line must arrive in the end;
 * this is for a server that takes a byte now and then.
 */
const MIN_RATE = 4 * 1024

/** What all requests of a transport have in common. */
export interface Line {
  /** Requests that have a body and no reply yet. */
  sending: number
}

export interface Watched {
  readonly request: ClientRequest
  readonly call: Call
  readonly line: Line
  /** Bytes of the body; `undefined` when nobody knows. */
  readonly size: number | undefined
  /** How long the body was held back by us. */
  readonly waits: Waits | undefined
  /** An agent makes the connection by steps of its own, and gives us the socket at their end. */
  readonly tunnel: boolean
  readonly fail: (error: Error) => void
}

/** Watches over one request; returns what ends the watch. */
export function watch(watched: Watched): () => void {
  const { request, call, line, size, waits, tunnel, fail } = watched
  const idle = call.idleTimeout ?? IDLE_TIMEOUT
  const patience = Math.min(CONNECT_TIMEOUT, idle)
  const timers = new Map<'connect' | 'whole', NodeJS.Timeout>()
  const clear = (name: 'connect' | 'whole'): void => clearTimeout(timers.get(name))
  const expect = (name: 'connect' | 'whole', ms: number, then: () => void): void => {
    clear(name)
    timers.set(name, setTimeout(then, Math.min(ms, 2 ** 31 - 1)))
  }
  const connecting = (): void =>
    expect('connect', patience, () => {
      fail(named('ConnectTimeout', `No connection within ${patience} ms`))
    })
  let watching = true
  let startedAt = performance.now()
  const spent = (): number => performance.now() - startedAt - (waits?.total ?? 0)

  let peak = 0 // requests that shared the line with this one
  const body = (): void => {
    if (size === undefined) return
    peak = Math.max(peak, line.sending)
    const allowed = idle + (size * 1000 * peak) / MIN_RATE
    const left = allowed - spent()
    if (left > 0) return expect('whole', left, body)
    fail(named('DeadlineExceeded', `${size} bytes were not taken within ${Math.ceil(allowed)} ms`))
  }
  if (tunnel) connecting()
  // Not before: with `maxSockets` of the caller's agent, a request first waits for its turn.
  request.on('socket', socket => {
    if (!watching) return
    clear('connect')
    startedAt = performance.now()
    if (!request.writableFinished) body()
    if (!socket.connecting) return
    connecting()
    socket.once('connect', () => clear('connect'))
  })
  request.setTimeout(idle)
  request.on('timeout', () => {
    if (!watching) return
    if (waits?.waiting === true) request.setTimeout(idle)
    else fail(named('IdleTimeout', `No byte moved for ${idle} ms`))
  })
  request.on('finish', () => {
    if (!watching) return
    // The system may still hold the last bytes, at worst for as long as it took the others.
    const extra = Math.max(0, spent())
    request.setTimeout(idle + extra)
    const limit = 2 * idle + extra
    expect('whole', limit, () => {
      fail(named('DeadlineExceeded', `No whole reply within ${Math.ceil(limit)} ms`))
    })
  })
  return () => {
    if (!watching) return
    watching = false
    clear('connect')
    clear('whole')
    request.setTimeout(0)
  }
}

function named(name: string, message: string): Error {
  return Object.assign(new Error(message), { name })
}
